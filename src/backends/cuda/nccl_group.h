#pragma once

#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/group_watch.h"
#include "backends/cuda/nccl_api.h"
#include "inferd/comm/device_group.h"

namespace inferd {

// Memory that NCCL gives out, each allocation a block of its own. What is freed is kept
// until Release(): a group may have been told of it. Any thread.
class GroupMemory final : public Allocator {
 public:
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };
  explicit GroupMemory(std::shared_ptr<const nccl::Api> api) : api_(std::move(api)) {}
  void* Allocate(size_t bytes, size_t alignment) override;
  void Free(void* pointer, size_t bytes) override;
  std::vector<Block> blocks() const;
  // All of it must have been freed.
  void Release();

 private:
  const std::shared_ptr<const nccl::Api> api_;
  mutable std::mutex mutex_;
  std::vector<Block> blocks_;  // guarded by mutex_
  size_t in_use_ = 0;          // guarded by mutex_
};

// A group whose collectives are NCCL's, on the stream of the rank's ops and in their
// graphs. Communicators do not block: what a call begins is waited for here, up to the
// group's deadlines. A rank has one stream, so that kernels of two communicators of its
// GPU never run at the same time, where NCCL may lock up.
class NcclGroup final : public DeviceGroup {
 public:
  // `host` is the same group for memory of the host, over which this one comes together.
  // All outlive it.
  NcclGroup(CudaOps& ops, std::shared_ptr<const nccl::Api> api, GroupWatch& watch,
            Communicator& host, const DeviceGroupOptions& options, const Clock& clock);
  ~NcclGroup() override;

  Status Connect() override;
  Allocator& memory() override { return memory_; }
  std::string Description() const override;

  int rank() const override { return host_.rank(); }
  int world_size() const override { return host_.world_size(); }
  Status AllReduce(const TensorView& x) override;
  Status ReduceScatter(const TensorView& in, const TensorView& out) override;
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override;
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override;
  Status Broadcast(std::span<std::byte> data, int root) override;
  Status Barrier() override { return host_.Barrier(); }
  Status Send(std::span<const std::byte> data, int to) override;
  Status Recv(std::span<std::byte> data, int from) override;
  void Abort() override;

 private:
  // What the ranks tell each other before they connect.
  struct Card;
  StatusOr<Card> ExchangeCards();
  Status Open(const nccl::UniqueId& id);
  Status Register(bool symmetric);
  // Waits until the library is done with what it was asked; with the member's mutex held.
  Status Settle(nccl::Result result, const char* what, int64_t timeout_us);
  // One collective, named by what it is given, which `call` asks the library for.
  template <class Call>
  Status Enqueue(const char* what, std::initializer_list<uint64_t> given, const Call& call);

  CudaOps& ops_;
  const std::shared_ptr<const nccl::Api> api_;
  GroupWatch& watch_;
  Communicator& host_;
  const DeviceGroupOptions options_;
  const Clock& clock_;
  GroupMemory memory_;
  const std::shared_ptr<GroupWatch::Member> member_;
  size_t registered_bytes_ = 0;
  bool symmetric_ = false;  // and as windows
  bool connected_ = false;
};

}  // namespace inferd
