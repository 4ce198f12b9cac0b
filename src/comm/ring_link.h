#pragma once

#include <atomic>
#include <memory>

#include "comm/byte_link.h"
#include "comm/segment.h"
#include "comm/wait_word.h"
#include "inferd/base/clock.h"
#include "inferd/comm/shared_memory_channel.h"

namespace inferd {

// What lies where in the memory of a channel. All of it begins as zeros.
//
//   RingHead | bytes of the engine's ring | bytes of the rank's ring
//
// A ring has one writer. Its positions count bytes since the start, modulo 2^32, and
// never differ by more than its size.
struct RingWords {
  WaitWord written;
  WaitWord read;
};

struct alignas(64) RingHead {
  uint64_t magic;
  uint64_t epoch;
  uint64_t ring_bytes;
  std::atomic<uint32_t> broken;  // 1 from when either side broke it
  WaitWord joined[2];            // by HostSide: 1 from when it came
  WaitWord left[2];              // 1 from when it went, in order
  RingWords ring[2];             // by the side that writes
};
static_assert(sizeof(RingHead) % 64 == 0);

// The other side is not trusted to keep the memory sound: positions of our own are kept
// here, its positions are checked, and bytes are copied before anything looks at them.
class RingLink final : public ByteLink {
 public:
  // `presence` is held for `side`. `clock` outlives the link.
  RingLink(std::shared_ptr<const SegmentMapping> mapping, Presence presence, HostSide side,
           size_t ring_bytes, const Clock& clock);
  ~RingLink() override;

  Status Write(std::span<const std::byte> bytes, int64_t deadline_us) override;
  StatusOr<size_t> ReadSome(std::span<std::byte> into, int64_t deadline_us) override;
  void Break() override;

 private:
  RingHead& Head() const { return *reinterpret_cast<RingHead*>(mapping_->base()); }
  std::byte* Data(size_t side) const {
    return mapping_->base() + sizeof(RingHead) + side * ring_bytes_;
  }
  // Waits until `word` of the other side is at least `target`.
  Status Await(WaitWord& word, uint32_t target, int64_t deadline_us);

  const std::shared_ptr<const SegmentMapping> mapping_;
  const Presence presence_;
  const size_t me_;
  const size_t peer_;
  const size_t ring_bytes_;
  const Clock& clock_;
  uint32_t written_ = 0;  // the writer's
  uint32_t read_ = 0;     // the reader's
};

}  // namespace inferd
