#include "backends/cuda/device.h"

#include <algorithm>

#include "backends/cuda/cuda_error.h"

namespace inferd {
namespace {

// The oldest GPUs the library has code for.
constexpr int kLeastCapability = 80;
constexpr size_t kPieceBytes = size_t{64} << 20;

}  // namespace

StatusOr<std::unique_ptr<Device>> Device::Open(int ordinal) {
  std::unique_ptr<Device> device(new Device);
  INFERD_RETURN_IF_ERROR(device->Start(ordinal));
  return device;
}

Status Device::Start(int ordinal) {
  int count = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&count); code != cudaSuccess) {
    if (code == cudaErrorInsufficientDriver) {
      return UnavailableError("cuda: the driver is too old for CUDA 13");
    }
    if (code == cudaErrorNoDevice) return UnavailableError("cuda: no GPU on this machine");
    return CudaStartError(code, "counting GPUs");
  }
  if (ordinal < 0 || ordinal >= count) {
    return UnavailableError("cuda: no GPU " + std::to_string(ordinal) + ", there are " +
                            std::to_string(count));
  }
  ordinal_ = ordinal;
  cudaDeviceProp properties;
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, ordinal); code != cudaSuccess) {
    return CudaStartError(code, "the GPU's properties");
  }
  name_ = properties.name;
  std::array<char, 32> bus_id{};
  if (const cudaError_t code =
          cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), ordinal);
      code != cudaSuccess) {
    return CudaStartError(code, "the GPU's place on the bus");
  }
  bus_id_ = bus_id.data();
  multiprocessors_ = properties.multiProcessorCount;
  max_shared_bytes_ = static_cast<int32_t>(properties.sharedMemPerBlockOptin);
  compute_capability_ = properties.major * 10 + properties.minor;
  if (compute_capability_ < kLeastCapability) {
    return UnavailableError("cuda: " + name_ + " has compute capability " +
                            std::to_string(properties.major) + "." +
                            std::to_string(properties.minor) + ", 8.0 is the least");
  }
  if (const cudaError_t code = cudaSetDevice(ordinal); code != cudaSuccess) {
    return CudaStartError(code, "opening the GPU");
  }
  if (const cudaError_t code = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
      code != cudaSuccess) {
    stream_ = nullptr;
    return CudaStartError(code, "a stream");
  }
  for (Slot& slot : slots_) {
    INFERD_ASSIGN_OR_RETURN(slot.memory, PinnedBuffer::Create(kSlotBytes));
    INFERD_ASSIGN_OR_RETURN(slot.done, StreamMark::Create());
  }
  return OkStatus();
}

Device::~Device() {
  // After an error nothing is waited for: it may never come.
  if (stream_ != nullptr && ok()) (void)cudaStreamSynchronize(stream_);
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  for (const Piece& piece : pieces_) (void)cudaFree(piece.data);
}

// ---- memory ----

Status Device::AddPiece(size_t bytes) {
  Use();
  void* data = nullptr;
  if (const cudaError_t code = cudaMalloc(&data, bytes); code != cudaSuccess) {
    return ResourceExhaustedError("cuda: " + std::to_string(bytes >> 20) +
                                  " MiB of GPU memory: " + CudaErrorText(code));
  }
  pieces_.push_back({static_cast<std::byte*>(data), ArenaMap(bytes)});
  return OkStatus();
}

Status Device::Reserve(size_t bytes) {
  if (reserved_ && pieces_.front().map.empty() && pieces_.front().map.bytes() >= bytes) {
    return OkStatus();
  }
  if (reserved_ || !pieces_.empty()) {
    return FailedPreconditionError("cuda: memory is reserved once, before it is used");
  }
  INFERD_RETURN_IF_ERROR(AddPiece(bytes));
  reserved_ = true;
  return OkStatus();
}

void* Device::Allocate(size_t bytes, size_t alignment) {
  if (alignment > ArenaMap::kUnit) return nullptr;
  for (Piece& piece : pieces_) {
    if (const auto offset = piece.map.Take(bytes)) return piece.data + *offset;
  }
  if (reserved_ || !AddPiece(std::max(bytes + ArenaMap::kUnit, kPieceBytes)).ok()) return nullptr;
  const auto offset = pieces_.back().map.Take(bytes);
  return offset ? pieces_.back().data + *offset : nullptr;
}

void Device::Free(void* pointer, size_t /*bytes*/) {
  if (pointer == nullptr) return;
  auto* data = static_cast<std::byte*>(pointer);
  for (Piece& piece : pieces_) {
    if (data >= piece.data && data < piece.data + piece.map.bytes()) {
      piece.map.Give(static_cast<size_t>(data - piece.data));
      return;
    }
  }
  INFERD_CHECK(false);
}

size_t Device::allocated_bytes() const {
  size_t bytes = 0;
  for (const Piece& piece : pieces_) bytes += piece.map.taken();
  return bytes;
}

size_t Device::arena_bytes() const {
  size_t bytes = 0;
  for (const Piece& piece : pieces_) bytes += piece.map.bytes();
  return bytes;
}

Status Device::CheckIntegrity() const {
  for (const Piece& piece : pieces_) INFERD_RETURN_IF_ERROR(piece.map.CheckIntegrity());
  return OkStatus();
}

Device::MemoryInfo Device::ReadMemory() const {
  if (cudaSetDevice(ordinal_) != cudaSuccess) return {};
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  if (cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) return {};
  return {static_cast<int64_t>(free_bytes), static_cast<int64_t>(total_bytes)};
}

DeviceInfo Device::Info() const {
  const MemoryInfo memory = ReadMemory();
  return {ordinal_, name_, bus_id_, memory.total_bytes, memory.free_bytes};
}

// ---- work ----

void Device::Use() {
  if (ok()) Check(cudaSetDevice(ordinal_), "choosing the GPU");
}

bool Device::Check(int code, const char* what) {
  if (code != cudaSuccess && error_.ok()) {
    error_ = InternalError(std::string("cuda: ") + what + ": " + CudaErrorText(code));
  }
  return error_.ok();
}

void Device::Fail(const Status& error) {
  if (error_.ok()) error_ = error;
}

void Device::Mark(const StreamMark& mark) {
  if (ok()) Check(cudaEventRecord(mark.event(), stream_), "an event");
}

void Device::Await(const std::function<cudaError_t()>& query) {
  cudaError_t code = cudaSuccess;
  const auto ask = [&query] {
    const cudaError_t answer = query();
    // No error, but kept as the last one all the same, which whoever launches looks at.
    if (answer == cudaErrorNotReady) (void)cudaGetLastError();
    return answer;
  };
  const Status status = waiter_->Await(ask, &code);
  // What broke the group tells more than what the runtime makes of it.
  if (!status.ok()) return Fail(status);
  Check(code, "waiting for the GPU");
}

void Device::WaitFor(const StreamMark& mark) {
  if (!ok()) return;
  if (waiter_ != nullptr) return Await([&mark] { return cudaEventQuery(mark.event()); });
  Check(cudaEventSynchronize(mark.event()), "waiting for the GPU");
}

bool Device::IsDone(const StreamMark& mark) {
  if (!ok()) return true;
  const cudaError_t code = cudaEventQuery(mark.event());
  const bool over = waiter_ != nullptr && waiter_->Hear(code);
  if (code != cudaErrorNotReady) return Check(code, "asking the GPU"), true;
  (void)cudaGetLastError();
  return over;
}

float Device::MillisecondsBetween(const StreamMark& begin, const StreamMark& end) {
  float milliseconds = 0;
  if (ok()) Check(cudaEventElapsedTime(&milliseconds, begin.event(), end.event()), "a time");
  return milliseconds;
}

Status Device::Wait() {
  if (ok() && waiter_ != nullptr) {
    Await([this] { return cudaStreamQuery(stream_); });
  } else if (ok()) {
    Check(cudaStreamSynchronize(stream_), "waiting for the GPU");
  }
  return error_;
}

}  // namespace inferd
