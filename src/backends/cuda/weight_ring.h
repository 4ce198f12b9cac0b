#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/cuda/device_handles.h"
#include "backends/cuda/load_pool.h"
#include "inferd/base/status.h"

namespace inferd {

class Device;

// Bytes on their way to a GPU that several threads make: a ring of pinned buffers, two for each
// thread, so that as many may be sent as are filled. The threads only fill; the rank's thread
// enqueues the copies, in the order in which buffers are full, with an event behind each, and
// gives a buffer out again when the device has passed its event. What was copied is on its way
// when CopyMade returns; the ring ends after the stream.
class WeightRing {
 public:
  static constexpr size_t kBufferBytes = size_t{2} << 20;
  static constexpr int kMostThreads = 16;  // 64 MiB of buffers

  // Null where there are no two threads to be had; an error where there is no pinned memory.
  static StatusOr<std::unique_ptr<WeightRing>> Create(int threads);

  // See Device::CopyMade. `unit` is at most kBufferBytes; `write` is called by several threads.
  void CopyMade(Device& device, std::byte* data, size_t bytes, size_t unit,
                const std::function<Status(std::byte*, size_t, size_t)>& write);
  // Null when they have been stopped.
  LoadPool* threads() const { return pool_.get(); }
  // They end; the buffers stay. CopyMade is not called any more.
  void StopThreads() { pool_.reset(); }

 private:
  struct Slot {
    PinnedBuffer memory;
    StreamMark done;
  };
  struct Filled {
    Slot* slot = nullptr;
    size_t first = 0;
    size_t count = 0;
  };
  using Writer = std::function<Status(std::byte*, size_t, size_t)>;

  WeightRing() = default;
  void Fill(const Writer& write);
  // Puts slots that the device has passed into `free`.
  void TakeBack(Device& device, std::vector<Slot*>* free);

  std::vector<Slot> slots_;
  std::deque<Slot*> sending_;  // in their order on the stream; the rank's thread
  std::mutex mutex_;
  std::condition_variable given_;  // to those who fill
  std::condition_variable made_;   // to the rank's thread
  // ---- guarded by mutex_ ----
  std::vector<Slot*> free_;
  std::vector<Filled> filled_;
  size_t filling_ = 0;  // slots
  size_t next_ = 0;     // the first byte that nobody makes
  size_t end_ = 0;
  size_t piece_ = 0;
  Status error_;

  std::unique_ptr<LoadPool> pool_;
};

}  // namespace inferd
