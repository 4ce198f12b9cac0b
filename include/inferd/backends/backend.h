#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/ops/ops.h"
#include "spdlog/logger.h"

namespace inferd {

// Whether computing threads stay on the cores they are given.
enum class ThreadPinning : uint8_t { kAuto, kOn, kOff };

// What x is in Ops::Linear with bf16 weights; other weights are not concerned.
enum class Activations : uint8_t {
  kF32,
  kBF16,  // rounded to nearest even
  kAuto,  // bf16 where the processor multiplies bf16 faster than f32; else f32
};

struct BackendOptions {
  int threads = 0;  // of all ranks; 0: what the process may use of the machine's cores
  std::shared_ptr<spdlog::logger> logger;
  ThreadPinning pinning = ThreadPinning::kAuto;
  Activations activations = Activations::kF32;
  bool amx = true;  // may be used, for bf16 activations and 8-bit weights
  // Backends of one process share its threads: this one is for rank `rank` of `ranks`.
  int rank = 0;
  int ranks = 1;
  int device = 0;  // which of the machine's devices, for backends that have several
  // Where a device's backend keeps what it measured, for later starts. Empty: it measures
  // nothing.
  std::filesystem::path tuning_directory = {};
  bool layer_ranges = false;  // layers are named to a profiler, where a device's backend has one
  // A row's result has the same bits however many rows there are, also where a device's backend
  // is faster otherwise (docs/gpu-status.md).
  bool batch_invariant = false;
  bool graphs = true;  // decode steps may be recorded and launched as one, where that is faster
};

// A device and its ops. Created once per rank, used by its thread.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Ops& ops() = 0;
  // "cpu: AVX3_ZEN4, 2 threads" and the like, for the log and GetServerInfo.
  virtual std::string Description() const = 0;
  virtual int64_t TotalMemoryBytes() const = 0;
  virtual int64_t AvailableMemoryBytes() const = 0;
  // Whether that memory is this backend's, or the host's, which all ranks share.
  virtual bool HasOwnMemory() const { return false; }
  // Whether `ranks_here` ranks on this machine, each a process with a backend like this
  // one, could exchange what they compute; if not, why, in one line.
  virtual Status CheckGroup(int /*ranks_here*/) const { return OkStatus(); }
  // Of AvailableMemoryBytes() what a rank's groups take for themselves.
  virtual int64_t GroupBytes() const { return 0; }
  // The process gives back whatever it holds of the device, and may die of it no more: for one
  // that only planned with it. Then the backend may only be destroyed; no other backend of
  // the process is on the same device.
  virtual void ReleaseDevice() {}
};

// The names CreateBackend knows, best first.
std::vector<std::string_view> BackendNames();

// "auto" is the first of them that this machine and installation can run.
// NOT_FOUND, naming the known ones, for an unknown name; UNAVAILABLE, saying what
// is missing, when the device is not there.
StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name,
                                                 const BackendOptions& options);

}  // namespace inferd
