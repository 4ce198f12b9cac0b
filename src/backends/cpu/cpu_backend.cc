#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <system_error>

#include "backends/cpu/cpu_budget.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/host/host_memory.h"
#include "cpu/common.h"

namespace inferd {
namespace {

constexpr int kMaxThreads = 256;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuChoice& cpus)
      : pinned_(!cpus.cores.empty()), ops_({cpus.threads, cpus.cores}, clock_) {}
  Ops& ops() override { return ops_; }
  std::string Description() const override {
    const int threads = ops_.threads();
    return std::string("cpu: ") + kernels::TargetName() + ", " + std::to_string(threads) +
           (threads == 1 ? " thread" : " threads") + (pinned_ ? ", pinned" : "");
  }
  int64_t TotalMemoryBytes() const override { return ReadHostMemory().total_bytes; }
  int64_t AvailableMemoryBytes() const override { return ReadHostMemory().available_bytes; }

 private:
  const SystemClock clock_;
  const bool pinned_;
  CpuOps ops_;
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options) {
  return CreateCpuBackend(options, ReadCpuid());
}

StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options,
                                                    const std::optional<CpuidRegisters>& cpu) {
  INFERD_RETURN_IF_ERROR(CheckCpuFeatures(cpu));
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidArgumentError("threads must be in [0, " + std::to_string(kMaxThreads) + "]");
  }
  CpuChoice cpus = ChooseCpus(ReadCpuBudget("/"), options.threads, options.pinning);
  cpus.threads = std::min(cpus.threads, kMaxThreads);
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(cpus));
  } catch (const std::system_error& error) {
    return ResourceExhaustedError(std::string("cannot start threads: ") + error.what());
  }
}

}  // namespace inferd
