#include "comm/frame.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

namespace inferd {
namespace {

constexpr size_t kLanes = 4;
constexpr uint64_t kMultiplier = 0x9e37'79b9'7f4a'7c15;  // odd: the product loses nothing

// Every step is a bijection of the lane, so a change confined to one word always shows.
uint64_t Mix(uint64_t lane, uint64_t word) { return std::rotl((lane ^ word) * kMultiplier, 29); }

Hash128 Sum(std::span<const std::byte> bytes) {
  std::array<uint64_t, kLanes> lanes = {1, 2, 3, 4};
  std::array<uint64_t, kLanes> words;
  size_t at = 0;
  for (; at + sizeof(words) <= bytes.size(); at += sizeof(words)) {
    std::memcpy(words.data(), bytes.data() + at, sizeof(words));
    for (size_t i = 0; i < kLanes; ++i) lanes[i] = Mix(lanes[i], words[i]);
  }
  words.fill(0);
  if (at < bytes.size()) std::memcpy(words.data(), bytes.data() + at, bytes.size() - at);
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = Mix(lanes[i], words[i]);
  const uint64_t length = bytes.size();
  return {Mix(Mix(lanes[0], lanes[1]), length), Mix(Mix(lanes[2], lanes[3]), length)};
}

Status Damaged(std::string_view what, uint64_t theirs, uint64_t ours) {
  return Status(StatusCode::kDataLoss, "a message with " + std::string(what) + " " +
                                           std::to_string(theirs) + " instead of " +
                                           std::to_string(ours));
}

}  // namespace

Hash128 FrameCheck(const std::optional<HashKey>& key, std::span<const std::byte> frame) {
  return key ? SipHash128(*key, frame) : Sum(frame);
}

Status CheckFrameHeader(const FrameHeader& header, const ExpectedFrame& expected) {
  if (header.magic != kFrameMagic) {
    return Status(StatusCode::kDataLoss, "what came is not a message");
  }
  if (header.version != kFrameVersion) return Damaged("version", header.version, kFrameVersion);
  if (header.epoch != expected.epoch) return Damaged("epoch", header.epoch, expected.epoch);
  if (header.sequence != expected.sequence) {
    return Damaged("number", header.sequence, expected.sequence);
  }
  if (header.reserved != 0) return Damaged("reserved bits", header.reserved, 0);
  if (header.size > expected.max_size) {
    return Status(StatusCode::kDataLoss, "a message of " + std::to_string(header.size) +
                                             " bytes; at most " +
                                             std::to_string(expected.max_size) + " are taken");
  }
  return OkStatus();
}

}  // namespace inferd
