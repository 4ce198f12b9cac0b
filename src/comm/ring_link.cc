#include "comm/ring_link.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "comm/framed_channel.h"

namespace inferd {
namespace {

constexpr uint64_t kRingMagic = 0x3130'676e'6972'6669;  // "ifring01"
constexpr int64_t kMinRingBytes = 4096;
constexpr int64_t kMaxRingBytes = int64_t{1} << 30;
// A sleeper looks after the other side now and then, less often the longer it waits.
constexpr int64_t kFirstSliceNs = 2'000'000;
constexpr int64_t kLastSliceNs = 32'000'000;

std::string SideName(size_t side) { return side == 0 ? "the engine's side" : "the rank's side"; }

size_t SegmentBytes(const SharedMemoryChannelOptions& options) {
  return sizeof(RingHead) + 2 * static_cast<size_t>(options.ring_bytes);
}

Status CheckOptions(const SharedMemoryChannelOptions& options) {
  INFERD_RETURN_IF_ERROR(CheckHostChannelOptions(options.channel));
  if (options.ring_bytes < kMinRingBytes || options.ring_bytes > kMaxRingBytes ||
      (options.ring_bytes & (options.ring_bytes - 1)) != 0) {
    return InvalidArgumentError("ring_bytes must be a power of two in 4096..1073741824");
  }
  return OkStatus();
}

}  // namespace

RingLink::RingLink(std::shared_ptr<const SegmentMapping> mapping, Presence presence, HostSide side,
                   size_t ring_bytes, const Clock& clock)
    : mapping_(std::move(mapping)),
      presence_(std::move(presence)),
      me_(static_cast<size_t>(side)),
      peer_(1 - me_),
      ring_bytes_(ring_bytes),
      clock_(clock) {}

RingLink::~RingLink() {
  RingHead& head = Head();
  Raise(head.left[me_], 1);
  WakeAll(head.ring[me_].written);
  WakeAll(head.ring[peer_].read);
}

Status RingLink::Write(std::span<const std::byte> bytes, int64_t deadline_us) {
  RingWords& ring = Head().ring[me_];
  std::byte* const data = Data(me_);
  const auto size = static_cast<uint32_t>(ring_bytes_);
  while (!bytes.empty()) {
    if (Head().broken.load(std::memory_order_acquire) != 0) {
      return UnavailableError("the channel was broken");
    }
    INFERD_RETURN_IF_ERROR(Await(ring.read, written_ - size + 1, deadline_us));
    const uint32_t in_use = written_ - ring.read.value.load(std::memory_order_acquire);
    if (in_use > size) return Status(StatusCode::kDataLoss, "the ring's positions are impossible");
    const size_t offset = written_ & (size - 1);
    const size_t n = std::min({bytes.size(), size_t{size - in_use}, ring_bytes_ - offset});
    std::memcpy(data + offset, bytes.data(), n);
    written_ += static_cast<uint32_t>(n);
    bytes = bytes.subspan(n);
    Raise(ring.written, written_);
  }
  return OkStatus();
}

StatusOr<size_t> RingLink::ReadSome(std::span<std::byte> into, int64_t deadline_us) {
  RingWords& ring = Head().ring[peer_];
  const auto size = static_cast<uint32_t>(ring_bytes_);
  if (Head().broken.load(std::memory_order_acquire) != 0) {
    return UnavailableError("the channel was broken");
  }
  INFERD_RETURN_IF_ERROR(Await(ring.written, read_ + 1, deadline_us));
  const uint32_t there = ring.written.value.load(std::memory_order_acquire) - read_;
  if (there > size) return Status(StatusCode::kDataLoss, "the ring's positions are impossible");
  const size_t offset = read_ & (size - 1);
  const size_t n = std::min({into.size(), size_t{there}, ring_bytes_ - offset});
  std::memcpy(into.data(), Data(peer_) + offset, n);
  read_ += static_cast<uint32_t>(n);
  Raise(ring.read, read_);
  return n;
}

Status RingLink::Await(WaitWord& word, uint32_t target, int64_t deadline_us) {
  if (SpinFor(word, target)) return OkStatus();
  RingHead& head = Head();
  int64_t slice_ns = kFirstSliceNs;
  for (;;) {
    if (head.broken.load(std::memory_order_acquire) != 0) {
      return UnavailableError("the channel was broken");
    }
    const bool left = Reached(head.left[peer_], 1);
    const bool died = Reached(head.joined[peer_], 1) && !presence_.IsAlive(static_cast<int>(peer_));
    // It may have done what we wait for just before it went.
    if (Reached(word, target)) return OkStatus();
    if (left || died) {
      return UnavailableError(SideName(peer_) + (left ? " has left" : " has died"));
    }
    const int64_t left_us = deadline_us - clock_.NowUs();
    if (left_us <= 0) {
      return Status(StatusCode::kDeadlineExceeded, SideName(peer_) + " did not come in time");
    }
    SleepOn(word, target, std::min(slice_ns, std::min(left_us, kLastSliceNs / 1000) * 1000));
    if (Reached(word, target)) return OkStatus();
    slice_ns = std::min(2 * slice_ns, kLastSliceNs);
  }
}

void RingLink::Break() {
  RingHead& head = Head();
  head.broken.store(1, std::memory_order_release);
  for (RingWords& ring : head.ring) {
    WakeAll(ring.written);
    WakeAll(ring.read);
  }
}

StatusOr<UniqueFd> CreateChannelSegment(const SharedMemoryChannelOptions& options) {
  INFERD_RETURN_IF_ERROR(CheckOptions(options));
  const size_t bytes = SegmentBytes(options);
  INFERD_ASSIGN_OR_RETURN(UniqueFd fd, NewSegment("inferd-channel", bytes));
  INFERD_ASSIGN_OR_RETURN(const auto mapping, MapSegment(fd, bytes));
  auto& head = *reinterpret_cast<RingHead*>(mapping->base());
  head.magic = kRingMagic;
  head.epoch = options.channel.epoch;
  head.ring_bytes = static_cast<uint64_t>(options.ring_bytes);
  return fd;
}

StatusOr<std::unique_ptr<HostChannel>> OpenSharedMemoryChannel(
    int segment_fd, HostSide side, const SharedMemoryChannelOptions& options, const Clock& clock) {
  INFERD_RETURN_IF_ERROR(CheckOptions(options));
  const size_t bytes = SegmentBytes(options);
  INFERD_ASSIGN_OR_RETURN(UniqueFd own, ReopenSegment(segment_fd, bytes));
  INFERD_ASSIGN_OR_RETURN(auto mapping, MapSegment(own, bytes));
  auto& head = *reinterpret_cast<RingHead*>(mapping->base());
  if (head.magic != kRingMagic || head.ring_bytes != static_cast<uint64_t>(options.ring_bytes)) {
    return FailedPreconditionError("the segment is not of a channel of this shape");
  }
  if (head.epoch != options.channel.epoch) {
    return FailedPreconditionError("the segment is of epoch " + std::to_string(head.epoch) +
                                   ", not of " + std::to_string(options.channel.epoch));
  }
  const auto me = static_cast<size_t>(side);
  Presence presence(std::move(own));
  INFERD_RETURN_IF_ERROR(presence.Take(static_cast<int>(me), SideName(me)));
  if (head.joined[me].value.exchange(1, std::memory_order_seq_cst) != 0) {
    return Status(StatusCode::kAlreadyExists, SideName(me) + " was opened before");
  }
  auto link = std::make_unique<RingLink>(std::move(mapping), std::move(presence), side,
                                         static_cast<size_t>(options.ring_bytes), clock);
  return std::unique_ptr<HostChannel>(
      std::make_unique<FramedChannel>(std::move(link), options.channel, FrameKeys{}, clock));
}

}  // namespace inferd
