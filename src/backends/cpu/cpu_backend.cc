#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "backends/cpu/cpu_ops.h"
#include "backends/host/host_memory.h"
#include "cpu/common.h"

namespace inferd {
namespace {

constexpr int kMaxThreads = 256;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : ops_(threads) {}
  Ops& ops() override { return ops_; }
  std::string Description() const override {
    const int threads = ops_.threads();
    return std::string("cpu: ") + kernels::TargetName() + ", " + std::to_string(threads) +
           (threads == 1 ? " thread" : " threads");
  }
  int64_t TotalMemoryBytes() const override { return ReadHostMemory().total_bytes; }
  int64_t AvailableMemoryBytes() const override { return ReadHostMemory().available_bytes; }

 private:
  CpuOps ops_;
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidArgumentError("threads must be in [0, " + std::to_string(kMaxThreads) + "]");
  }
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int threads = std::clamp(options.threads > 0 ? options.threads : cores, 1, kMaxThreads);
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(threads));
  } catch (const std::system_error& error) {
    return ResourceExhaustedError(std::string("cannot start threads: ") + error.what());
  }
}

}  // namespace inferd
