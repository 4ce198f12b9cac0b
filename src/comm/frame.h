// The form of a message of a host channel: a header, then the payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "inferd/base/hash.h"
#include "inferd/base/status.h"

namespace inferd {

inline constexpr uint32_t kFrameMagic = 0x6866'6e69;  // "infh"
inline constexpr uint32_t kFrameVersion = 1;

// Plain data of little-endian machines.
struct FrameHeader {
  uint32_t magic = kFrameMagic;
  uint32_t version = kFrameVersion;
  uint64_t epoch = 0;
  uint64_t sequence = 0;  // of the direction, from 1
  uint32_t kind = 0;
  uint32_t reserved = 0;
  uint64_t size = 0;  // bytes of payload
  Hash128 check;      // over the header with zeros here, and the payload
};
static_assert(sizeof(FrameHeader) == 56);

// With a key, what only its holders can compute; without, a sum that tells damage.
// `frame`: header and payload, with zeros for the check.
Hash128 FrameCheck(const std::optional<HashKey>& key, std::span<const std::byte> frame);

// What a reader knows of the next message. DATA_LOSS unless the header fits it; looks
// at everything but the check.
struct ExpectedFrame {
  uint64_t epoch = 0;
  uint64_t sequence = 0;
  uint64_t max_size = 0;
};
Status CheckFrameHeader(const FrameHeader& header, const ExpectedFrame& expected);

}  // namespace inferd
