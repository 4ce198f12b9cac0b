#include "backends/ref/ref_backend.h"

#include "backends/host/host_memory.h"
#include "backends/ref/ref_ops.h"

namespace inferd {
namespace {

class RefBackend final : public Backend {
 public:
  explicit RefBackend(bool round_rows) : ops_(round_rows) {}
  Ops& ops() override { return ops_; }
  std::string Description() const override { return "ref: scalar, 1 thread"; }
  int64_t TotalMemoryBytes() const override { return ReadHostMemory().total_bytes; }
  int64_t AvailableMemoryBytes() const override { return ReadHostMemory().available_bytes; }

 private:
  RefOps ops_;
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> CreateRefBackend(const BackendOptions& options) {
  return std::unique_ptr<Backend>(
      std::make_unique<RefBackend>(options.activations == Activations::kBF16));
}

}  // namespace inferd
