#include <string>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_library.h"
#include "backends/ref/ref_backend.h"
#include "inferd/backends/backend.h"

namespace inferd {
namespace {

struct Entry {
  std::string_view name;
  StatusOr<std::unique_ptr<Backend>> (*create)(const BackendOptions& options);
};

// Best first; a device is one line.
constexpr Entry kEntries[] = {
    {"cuda", &CreateCudaBackend},
    {"cpu", &CreateCpuBackend},
    {"ref", &CreateRefBackend},
};

}  // namespace

std::vector<std::string_view> BackendNames() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kEntries) names.push_back(entry.name);
  return names;
}

StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name,
                                                 const BackendOptions& options) {
  // Chosen by what is there, before anything is tried: what fails is not replaced.
  if (name == "auto") name = CudaIsUsable() ? "cuda" : "cpu";
  std::string known;
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.create(options);
    known += known.empty() ? "" : ", ";
    known += entry.name;
  }
  return NotFoundError("no backend '" + std::string(name) + "'; known: " + known);
}

}  // namespace inferd
