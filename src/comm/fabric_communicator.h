#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "comm/fabric.h"
#include "inferd/comm/communicator.h"

namespace inferd {

// The collectives, cut into pieces, over any fabric.
class FabricCommunicator final : public Communicator {
 public:
  FabricCommunicator(std::unique_ptr<Fabric> fabric, int rank, int world_size,
                     const CommOptions& options, const Clock& clock);

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  Status AllReduce(const TensorView& x) override;
  Status ReduceScatter(const TensorView& in, const TensorView& out) override;
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override;
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override;
  Status Broadcast(std::span<std::byte> data, int root) override;
  Status Barrier() override;
  Status Send(std::span<const std::byte> data, int to) override;
  Status Recv(std::span<std::byte> data, int from) override;
  void Abort() override;

 private:
  size_t World() const { return static_cast<size_t>(world_size_); }
  size_t Me() const { return static_cast<size_t>(rank_); }
  Status Begin(CallKind kind, size_t total_bytes, uint32_t detail);
  Status BeginMessage(size_t bytes, int peer, uint64_t& pair_sequence);
  // Passes `status` on; an error is kept for all later calls and told to the others.
  Status End(Status status);
  Status ReducePiece(DType dtype, std::span<std::byte> piece);
  Status DoAllReduce(DType dtype, std::span<std::byte> data);
  Status DoReduceScatter(DType dtype, std::span<const std::byte> in, std::span<std::byte> out);
  Status DoAllGather(std::span<const std::byte> in, std::span<std::byte> out);
  Status DoAllToAll(std::span<const std::byte> in, std::span<std::byte> out);
  Status DoBroadcast(std::span<std::byte> data, size_t root);
  Status DoSend(std::span<const std::byte> data, int to);
  Status DoRecv(std::span<std::byte> data, int from);

  const std::unique_ptr<Fabric> fabric_;
  const int rank_;
  const int world_size_;
  const size_t chunk_bytes_;
  const int64_t timeout_us_;
  const Clock& clock_;
  std::atomic<bool> aborted_{false};
  Status broken_;
  CallHeader header_;  // of the call under way
  uint64_t sequence_ = 0;
  std::array<uint64_t, kMaxRanks> sent_{};      // messages to each rank
  std::array<uint64_t, kMaxRanks> received_{};  // and from each
  std::array<const std::byte*, kMaxRanks> theirs_{};
  std::array<size_t, kMaxRanks> sizes_{};
};

// INVALID_ARGUMENT unless 1 <= world_size <= kMaxRanks, 0 <= rank < world_size and the
// options are in their ranges.
Status CheckGroup(int rank, int world_size, const CommOptions& options);

}  // namespace inferd
