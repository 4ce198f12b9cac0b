// What lies where in the memory that the ranks of one host share. All of it begins as
// zeros.
//
//   SegmentHead | RankWords[world] | ChannelWords[world][world] |
//   slots[world][2] of (SlotHead, chunk) | buffers[world][world][2] of (SlotHead, piece)
//
// Channel (s, r) carries messages from rank s to rank r.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "comm/fabric.h"
#include "comm/wait_word.h"

namespace inferd {

inline constexpr uint64_t kSegmentMagic = 0x3130'6d6d'6f63'6669;  // "ifcomm01"
inline constexpr size_t kMessagePieceBytes = 64 << 10;

struct alignas(64) SegmentHead {
  uint64_t magic;
  uint64_t world_size;
  uint64_t chunk_bytes;
  std::atomic<uint32_t> broken;  // 0, or why, who said so and who was missing
};

struct RankWords {
  WaitWord joined;  // 1 from when the rank came
  WaitWord posted;  // pieces it has put in its slots
  WaitWord left;    // 1 from when it went, in order
};

struct ChannelWords {
  WaitWord sent;
  WaitWord received;
};

struct alignas(64) SlotHead {
  CallHeader call;
};

// Addresses within a mapped segment.
class SegmentLayout {
 public:
  SegmentLayout(std::byte* base, int world_size, size_t chunk_bytes)
      : base_(base), world_(static_cast<size_t>(world_size)), chunk_(chunk_bytes) {}

  size_t Bytes() const { return BufferOffset() + world_ * world_ * 2 * BufferStride(); }
  SegmentHead& Head() const { return *At<SegmentHead>(0); }
  RankWords& Rank(size_t rank) const {
    return *At<RankWords>(sizeof(SegmentHead) + rank * sizeof(RankWords));
  }
  ChannelWords& Channel(size_t from, size_t to) const {
    return *At<ChannelWords>(ChannelOffset() + (from * world_ + to) * sizeof(ChannelWords));
  }
  SlotHead& Slot(size_t rank, uint32_t fill) const {
    return *At<SlotHead>(SlotOffset() + (rank * 2 + fill % 2) * (sizeof(SlotHead) + chunk_));
  }
  SlotHead& Buffer(size_t from, size_t to, uint32_t number) const {
    return *At<SlotHead>(BufferOffset() + ((from * world_ + to) * 2 + number % 2) * BufferStride());
  }
  static std::byte* Data(SlotHead& slot) {
    return reinterpret_cast<std::byte*>(&slot) + sizeof(SlotHead);
  }

 private:
  template <typename T>
  T* At(size_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }
  size_t ChannelOffset() const { return sizeof(SegmentHead) + world_ * sizeof(RankWords); }
  size_t SlotOffset() const { return ChannelOffset() + world_ * world_ * sizeof(ChannelWords); }
  size_t BufferOffset() const { return SlotOffset() + world_ * 2 * (sizeof(SlotHead) + chunk_); }
  static size_t BufferStride() { return sizeof(SlotHead) + kMessagePieceBytes; }

  std::byte* base_;
  size_t world_;
  size_t chunk_;
};

}  // namespace inferd
