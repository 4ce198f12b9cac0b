#include "backends/cuda/cuda_backend.h"

#include <utility>

#include "backends/cuda/cuda_ops.h"

namespace inferd {
namespace {

// What is left to the communicators of a rank and to the driver for them, which take it
// past the arena. NCCL has some 10 MB for each pair of channels; not measured.
constexpr int64_t kGroupBytes = int64_t{1} << 30;

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(std::unique_ptr<CudaOps> ops) : ops_(std::move(ops)) {}

  Ops& ops() override { return *ops_; }
  std::string Description() const override {
    const Device& device = ops_->device();
    const int capability = device.compute_capability();
    return "cuda:" + std::to_string(device.ordinal()) + ": " + device.name() + ", sm_" +
           std::to_string(capability) + ", " + std::to_string(device.multiprocessors()) +
           " multiprocessors, cuBLASLt " + ops_->library().Version();
  }
  bool HasOwnMemory() const override { return true; }
  Status CheckGroup(int ranks_here) const override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < ranks_here) {
      return FailedPreconditionError("cuda: " + std::to_string(ranks_here) +
                                     " ranks need a GPU each, there are " + std::to_string(count));
    }
    return nccl::Open().status().WithPrefix("cuda");
  }
  int64_t GroupBytes() const override { return kGroupBytes; }
  // Destroying all that is in a context leaves the context, a few hundred MB of the GPU.
  void ReleaseDevice() override {
    const int ordinal = ops_->device().ordinal();
    ops_.reset();
    if (cudaSetDevice(ordinal) == cudaSuccess) (void)cudaDeviceReset();
  }
  int64_t TotalMemoryBytes() const override { return ops_->device().ReadMemory().total_bytes; }
  // What the driver has free, and what the arena has that nobody took.
  int64_t AvailableMemoryBytes() const override {
    const Device& device = ops_->device();
    return device.ReadMemory().free_bytes +
           static_cast<int64_t>(device.arena_bytes() - device.allocated_bytes());
  }

 private:
  std::unique_ptr<CudaOps> ops_;
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options) {
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<CudaOps> ops, CudaOps::Create(options));
  return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(std::move(ops)));
}

}  // namespace inferd
