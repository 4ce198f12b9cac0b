// Bytes to and from a GPU's memory.
#include <algorithm>
#include <cstring>
#include <utility>

#include "backends/cuda/device.h"

namespace inferd {

Device::Slot& Device::NextSlot() {
  Slot& slot = slots_[next_slot_];
  next_slot_ = (next_slot_ + 1) % slots_.size();
  if (slot.used) WaitFor(slot.done);
  slot.used = true;
  return slot;
}

void Device::CopyMade(void* data, size_t bytes, size_t unit,
                      const std::function<Status(std::byte*, size_t, size_t)>& write) {
  INFERD_CHECK(unit > 0 && unit <= kSlotBytes);
  if (load_threads() != nullptr && unit <= WeightRing::kBufferBytes) {
    return ring_->CopyMade(*this, static_cast<std::byte*>(data), bytes, unit, write);
  }
  const size_t piece = kSlotBytes / unit * unit;
  for (size_t first = 0; first < bytes && ok(); first += piece) {
    const size_t count = std::min(piece, bytes - first);
    Slot& slot = NextSlot();
    if (const Status status = write(slot.memory.data(), first, count); !status.ok()) {
      return Fail(status);
    }
    Copy(static_cast<std::byte*>(data) + first, slot.memory.data(), count, cudaMemcpyHostToDevice);
    Mark(slot.done);
  }
}

void Device::CopyIn(void* data, const void* host, size_t bytes) {
  CopyMade(data, bytes, 1, [&](std::byte* to, size_t first, size_t count) {
    std::memcpy(to, static_cast<const std::byte*>(host) + first, count);
    return OkStatus();
  });
}

void Device::BeginLoading(int threads) {
  if (!ok() || ring_ != nullptr || threads < 2) return;
  Use();
  StatusOr<std::unique_ptr<WeightRing>> ring = WeightRing::Create(threads);
  if (ring.ok()) {
    ring_ = std::move(*ring);
  } else {
    (void)cudaGetLastError();  // or the next launch answers it
  }
}

Status Device::EndLoading() {
  if (ring_ == nullptr) return Wait();
  ring_->StopThreads();
  // After an error nothing says that its buffers are not read any more.
  if (Wait().ok()) ring_.reset();
  return error_;
}

Status Device::CopyOut(void* host, const void* data, size_t bytes) {
  for (size_t first = 0; first < bytes && ok(); first += kSlotBytes) {
    const size_t count = std::min(kSlotBytes, bytes - first);
    Slot& slot = NextSlot();
    Copy(slot.memory.data(), static_cast<const std::byte*>(data) + first, count,
         cudaMemcpyDeviceToHost);
    INFERD_RETURN_IF_ERROR(Wait());
    std::memcpy(static_cast<std::byte*>(host) + first, slot.memory.data(), count);
    slot.used = false;
  }
  return Wait();
}

void Device::Fill(void* data, uint8_t value, size_t bytes) {
  Use();
  if (bytes > 0 && ok()) Check(cudaMemsetAsync(data, value, bytes, stream_), "setting memory");
}

void Device::Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes > 0 && ok()) Check(cudaMemcpyAsync(to, from, bytes, kind, stream_), "a copy");
}

}  // namespace inferd
