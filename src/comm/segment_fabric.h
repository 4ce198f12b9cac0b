#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "comm/fabric.h"
#include "comm/segment.h"
#include "comm/segment_layout.h"
#include "inferd/base/clock.h"

namespace inferd {

// Ranks that share memory, threads or processes alike. A rank copies its piece into its
// slot, raises `posted`, and waits until the others did; then it reads their slots in
// place. Two slots per rank taken in turn need no second wait: whoever has posted piece
// k + 1 is done with reading piece k, so its slot may be written for piece k + 2.
class SegmentFabric final : public Fabric {
 public:
  // Whether the process that is rank r still lives; asked only after it has joined.
  using IsAlive = std::function<bool(int rank)>;

  // `is_alive` may be empty. `clock` outlives the fabric.
  SegmentFabric(std::shared_ptr<const SegmentMapping> mapping, int rank, int world_size,
                size_t chunk_bytes, IsAlive is_alive, const Clock& clock);
  ~SegmentFabric() override;

  // Announces this rank; ALREADY_EXISTS when it was here before. Once.
  Status Join();
  // Waits until all ranks have joined.
  Status AwaitAll();

  void SetDeadline(int64_t deadline_us) override { deadline_us_ = deadline_us; }
  Status Share(const CallHeader& header, std::span<const std::byte> mine,
               std::span<const size_t> sizes, std::span<const std::byte*> theirs) override;
  Status Deal(const CallHeader& header, std::span<const std::span<const std::byte>> parts,
              std::span<const std::byte*> theirs) override;
  Status Send(const CallHeader& header, std::span<const std::byte> data, int to) override;
  Status Recv(const CallHeader& header, std::span<std::byte> data, int from) override;
  void Break(StatusCode reason) override;

 private:
  SlotHead& NextSlot(const CallHeader& header);
  // Shows the slot, and waits for and checks the others' slots of the same number.
  Status PostAndAwait(const CallHeader& header);
  // Waits until `word` of `peer` is at least `target`.
  Status Await(WaitWord& word, uint32_t target, int peer);
  // Why `peer` will not come, or OK while it may.
  Status CheckPeer(const WaitWord& word, uint32_t target, int peer);
  Status BrokenStatus() const;

  const std::shared_ptr<const SegmentMapping> mapping_;
  const SegmentLayout layout_;
  const int rank_;
  const int world_size_;
  const size_t chunk_bytes_;
  const IsAlive is_alive_;
  const Clock& clock_;
  int64_t deadline_us_ = 0;
  uint32_t fills_ = 0;
  std::atomic<int> missing_{-1};  // the rank that an error was about
};

}  // namespace inferd
