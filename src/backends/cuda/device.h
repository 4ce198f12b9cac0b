#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/arena_map.h"
#include "backends/cuda/device_handles.h"
#include "backends/cuda/device_waiter.h"
#include "backends/cuda/weight_ring.h"
#include "inferd/base/status.h"
#include "inferd/ops/device_info.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// Steps that may be under way at once: the host prepares one while the device works on
// the one before.
inline constexpr int kMaxSteps = 2;

// One GPU as one rank uses it: one stream, one arena of device memory, and the first
// error, which stays: after it nothing is launched any more and every Wait answers it.
// The rank's thread.
class Device final : public Allocator {
 public:
  // UNAVAILABLE in one line when the GPU is not there, is too old or has too old a
  // driver.
  static StatusOr<std::unique_ptr<Device>> Open(int ordinal);
  ~Device() override;

  const std::string& name() const { return name_; }
  DeviceInfo Info() const;
  int ordinal() const { return ordinal_; }
  int multiprocessors() const { return multiprocessors_; }
  int compute_capability() const { return compute_capability_; }  // 90 for 9.0
  int32_t max_shared_bytes() const { return max_shared_bytes_; }  // of a block
  cudaStream_t stream() const { return stream_; }

  // ---- memory ----
  // Takes `bytes` in one piece, the only one: from now on what does not fit is
  // refused. Without, memory is taken in pieces as it is needed. Once, or again when all
  // of it is free.
  Status Reserve(size_t bytes);
  void* Allocate(size_t bytes, size_t alignment) override;
  void Free(void* pointer, size_t bytes) override;
  size_t allocated_bytes() const;  // by users
  size_t arena_bytes() const;      // from the driver
  Status CheckIntegrity() const;
  // Free and all bytes of the GPU.
  struct MemoryInfo {
    int64_t free_bytes = 0;
    int64_t total_bytes = 0;
  };
  MemoryInfo ReadMemory() const;

  // ---- work ----
  // Makes it the calling thread's device: memory, marks and launches are of that one, and
  // every thread starts with the first. To be called before any of them, where another
  // thread or device may have come before.
  void Use();
  // Takes a result of the runtime or of a launch: the first bad one is kept.
  // Whether all is well still.
  bool Check(int code, const char* what);
  bool ok() const { return error_.ok(); }
  const Status& error() const { return error_; }
  // For errors that are not the runtime's.
  void Fail(const Status& error);
  // No error: why no more graphs are made on the device. The first reason is kept.
  void RefuseGraphs(const Status& reason) {
    if (graph_refusal_.ok()) graph_refusal_ = reason;
  }
  const Status& graph_refusal() const { return graph_refusal_; }
  // Pageable memory to the device, through the two pinned slots; `host` is the caller's
  // again on return.
  void CopyIn(void* data, const void* host, size_t bytes);
  // The same, of bytes that `write` makes: write(to, first, count) gives bytes [first,
  // first + count) of all; what it fails with is the device's error. Pieces are multiples of
  // `unit`, of which a slot holds one. While weights are loaded several threads call `write`.
  void CopyMade(void* data, size_t bytes, size_t unit,
                const std::function<Status(std::byte* to, size_t first, size_t count)>& write);
  // Weights are loaded from now on, by up to so many threads that fill pinned buffers of their
  // own; with less than two, or without memory for them, as at any other time.
  void BeginLoading(int threads);
  // They are on the device, or there is an error; threads and buffers are gone.
  Status EndLoading();
  // Null where there are none.
  LoadThreads* load_threads() { return ring_ == nullptr ? nullptr : ring_->threads(); }
  Status CopyOut(void* host, const void* data, size_t bytes);
  void Fill(void* data, uint8_t value, size_t bytes);
  // Pinned memory either way, enqueued.
  void Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
  void Mark(const StreamMark& mark);
  void WaitFor(const StreamMark& mark);
  // Whether WaitFor would not wait.
  bool IsDone(const StreamMark& mark);
  // Of two timed marks that the device has passed.
  float MillisecondsBetween(const StreamMark& begin, const StreamMark& end);
  // For all that was enqueued; the first error ever.
  Status Wait();
  // Waits are this one's from now on: those for work that other ranks have a part in. It
  // outlives the device.
  void SetWaiter(DeviceWaiter* waiter) { waiter_ = waiter; }

  static constexpr size_t kSlotBytes = size_t{8} << 20;

 private:
  struct Piece {
    std::byte* data = nullptr;
    ArenaMap map;
  };
  struct Slot {
    PinnedBuffer memory;
    StreamMark done;
    bool used = false;
  };

  Device() = default;
  Status Start(int ordinal);
  Status AddPiece(size_t bytes);
  Slot& NextSlot();
  void Await(const std::function<cudaError_t()>& query);

  int ordinal_ = 0;
  int multiprocessors_ = 0;
  int compute_capability_ = 0;
  int32_t max_shared_bytes_ = 0;
  std::string name_;
  std::string bus_id_;
  cudaStream_t stream_ = nullptr;
  bool reserved_ = false;
  std::vector<Piece> pieces_;
  std::array<Slot, 2> slots_;
  size_t next_slot_ = 0;
  std::unique_ptr<WeightRing> ring_;  // null when no weights are being loaded
  Status error_;
  Status graph_refusal_;
  DeviceWaiter* waiter_ = nullptr;
};

}  // namespace inferd
