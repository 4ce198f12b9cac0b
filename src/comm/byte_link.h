#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/base/status.h"

namespace inferd {

// Bytes to and from one other process, in order. One thread writes and one reads, which
// may be the same; Break() may be called by any. Deadlines are of the clock.
class ByteLink {
 public:
  virtual ~ByteLink() = default;

  // Writes all of it, or fails: UNAVAILABLE when the other side is gone,
  // DEADLINE_EXCEEDED when it does not take it.
  virtual Status Write(std::span<const std::byte> bytes, int64_t deadline_us) = 0;
  // Reads what is there, at least one byte; how many. `into` is not empty. UNAVAILABLE
  // when the other side is gone and all it sent was read; DEADLINE_EXCEEDED loses
  // nothing; DATA_LOSS when the link itself is not as it must be.
  virtual StatusOr<size_t> ReadSome(std::span<std::byte> into, int64_t deadline_us) = 0;
  // Ends calls under way, here and on the other side, and all later ones.
  virtual void Break() = 0;
};

}  // namespace inferd
