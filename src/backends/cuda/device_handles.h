// What the runtime gives to whoever holds it, and takes back with the object.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

#include "inferd/base/status.h"

namespace inferd {

// Host memory that copies may read and write while the host goes on.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static StatusOr<PinnedBuffer> Create(size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A place in the stream that the host can wait for.
class StreamMark {
 public:
  StreamMark() = default;
  // `timed`: the device notes the time it gets there.
  static StatusOr<StreamMark> Create(bool timed = false);
  StreamMark(StreamMark&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  StreamMark& operator=(StreamMark&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  StreamMark(const StreamMark&) = delete;
  StreamMark& operator=(const StreamMark&) = delete;
  ~StreamMark();
  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace inferd
