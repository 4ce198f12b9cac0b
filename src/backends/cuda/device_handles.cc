#include "backends/cuda/device_handles.h"

#include "backends/cuda/cuda_error.h"

namespace inferd {

StatusOr<PinnedBuffer> PinnedBuffer::Create(size_t bytes) {
  PinnedBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  if (const cudaError_t code = cudaHostAlloc(&data, bytes, cudaHostAllocDefault);
      code != cudaSuccess) {
    return ResourceExhaustedError("cuda: " + std::to_string(bytes) +
                                  " bytes of pinned memory: " + CudaErrorText(code));
  }
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  return buffer;
}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

StatusOr<StreamMark> StreamMark::Create(bool timed) {
  StreamMark mark;
  if (const cudaError_t code =
          cudaEventCreateWithFlags(&mark.event_, timed ? cudaEventDefault : cudaEventDisableTiming);
      code != cudaSuccess) {
    mark.event_ = nullptr;
    return CudaStartError(code, "an event");
  }
  return mark;
}

StreamMark::~StreamMark() {
  if (event_ != nullptr) (void)cudaEventDestroy(event_);
}

}  // namespace inferd
