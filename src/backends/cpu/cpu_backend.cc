#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <system_error>

#include "backends/cpu/cpu_budget.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/host/host_memory.h"
#include "cpu/common.h"
#include "cpu/tile_unit.h"

namespace inferd {
namespace {

constexpr int kMaxThreads = 256;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const CpuChoice& cpus, std::optional<kernels::Bf16Unit> bf16, IntTiles int_tiles)
      : pinned_(!cpus.cores.empty()),
        bf16_(bf16),
        ops_({cpus.threads, cpus.cores}, clock_, bf16, int_tiles) {}
  Ops& ops() override { return ops_; }
  std::string Description() const override {
    const int threads = ops_.threads();
    return std::string("cpu: ") + kernels::TargetName() + ", " + std::to_string(threads) +
           (threads == 1 ? " thread" : " threads") + (pinned_ ? ", pinned" : "") +
           ", 8-bit products by " + (ops_.int_units().tiles == IntTiles::kAmx ? "AMX and " : "") +
           kernels::DotUnitName(ops_.int_units().dots) +
           (bf16_ ? std::string(", bf16 by ") + kernels::Bf16UnitName(*bf16_) : "");
  }
  int64_t TotalMemoryBytes() const override { return ReadHostMemory().total_bytes; }
  int64_t AvailableMemoryBytes() const override { return ReadHostMemory().available_bytes; }

 private:
  const SystemClock clock_;
  const bool pinned_;
  const std::optional<kernels::Bf16Unit> bf16_;
  CpuOps ops_;
};

// The unit that multiplies rows rounded to bf16; nothing if they stay f32.
std::optional<kernels::Bf16Unit> ChooseBf16Unit(const BackendOptions& options) {
  using kernels::Bf16Unit;
  if (options.activations == Activations::kF32) return std::nullopt;
  const Bf16Unit unit = kernels::BestBf16Unit(options.amx);
  if (options.amx && unit != Bf16Unit::kTiles && kernels::AmxBf16Runs() && options.logger) {
    options.logger->warn("AMX is not used: its products are not those that the manual describes");
  }
  // Without a faster unit rounding has only its error to offer.
  if (options.activations == Activations::kAuto && unit == Bf16Unit::kWiden) return std::nullopt;
  return unit;
}

IntTiles ChooseIntTiles(const BackendOptions& options) {
  if (!options.amx || !kernels::AmxInt8Runs()) return IntTiles::kNone;
  if (kernels::IntTilesAgree()) return IntTiles::kAmx;
  if (options.logger) {
    options.logger->warn(
        "AMX is not used for 8-bit weights: its products are not those that the manual describes");
  }
  return IntTiles::kNone;
}

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
  CpuChoice cpus = ShareCpus(ChooseCpus(ReadCpuBudget("/"), options.threads, options.pinning),
                             options.rank, options.ranks);
  cpus.threads = std::min(cpus.threads, kMaxThreads);
  try {
    return std::unique_ptr<Backend>(
        std::make_unique<CpuBackend>(cpus, ChooseBf16Unit(options), ChooseIntTiles(options)));
  } catch (const std::system_error& error) {
    return ResourceExhaustedError(std::string("cannot start threads: ") + error.what());
  }
}

}  // namespace inferd
