// The one symbol that libinferd_cuda.so exports.
#include "backends/cuda/plugin.h"

#include <exception>

#include "backends/cuda/cuda_backend.h"

namespace inferd {
namespace {

Status Create(const BackendOptions& options, std::unique_ptr<Backend>* backend) {
  try {
    INFERD_ASSIGN_OR_RETURN(*backend, MakeCudaBackend(options));
    return OkStatus();
  } catch (const std::exception& e) {
    return InternalError(std::string("cuda: ") + e.what());
  }
}

constexpr BackendPlugin kPlugin{kPluginAbi, INFERD_PLUGIN_CONTRACT, &Create};

}  // namespace
}  // namespace inferd

extern "C" __attribute__((visibility("default"))) const inferd::BackendPlugin*
inferd_cuda_plugin() {
  return &inferd::kPlugin;
}
