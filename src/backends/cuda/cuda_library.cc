#include "backends/cuda/cuda_library.h"

#include <dlfcn.h>

#include <string>
#include <system_error>
#include <utility>

#include "backends/cuda/plugin.h"

namespace inferd {
namespace {

namespace fs = std::filesystem;

constexpr char kLibrary[] = "libinferd_cuda.so";
constexpr char kDriver[] = "libcuda.so.1";

std::vector<fs::path> InstalledPlaces() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = program.parent_path();
  return {folder / kLibrary, folder / ".." / "lib" / "inferd" / kLibrary};
}

fs::path FirstThatExists(const std::vector<fs::path>& candidates) {
  for (const fs::path& path : candidates) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) return path;
  }
  return {};
}

// The driver's own words for how many GPUs there are.
Status CountDevices(int* count) {
  *count = 0;
  void* driver = dlopen(kDriver, RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    return UnavailableError(std::string("cuda: no NVIDIA driver on this machine (") + kDriver +
                            " cannot be opened)");
  }
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto get_count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  if (init == nullptr || get_count == nullptr) {
    return UnavailableError(std::string("cuda: ") + kDriver + " is not an NVIDIA driver");
  }
  if (const int code = init(0); code != 0) {
    return UnavailableError("cuda: the driver does not start (error " + std::to_string(code) + ")");
  }
  if (const int code = get_count(count); code != 0 || *count == 0) {
    return UnavailableError("cuda: the driver sees no GPU");
  }
  return OkStatus();
}

std::string LastLoaderError() {
  const char* text = dlerror();
  return text == nullptr ? "unknown error" : text;
}

}  // namespace

bool CudaIsUsable() {
  int count = 0;
  return !FirstThatExists(InstalledPlaces()).empty() && CountDevices(&count).ok();
}

StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const BackendOptions& options) {
  const std::vector<fs::path> places = InstalledPlaces();
  if (FirstThatExists(places).empty()) {
    return UnavailableError(std::string("cuda: ") + kLibrary +
                            " is neither beside the program nor in ../lib/inferd");
  }
  int count = 0;
  INFERD_RETURN_IF_ERROR(CountDevices(&count));
  if (options.device < 0 || options.device >= count) {
    return UnavailableError("cuda: no GPU " + std::to_string(options.device) +
                            ", the driver sees " + std::to_string(count));
  }
  return OpenCudaBackend(places, options);
}

StatusOr<std::unique_ptr<Backend>> OpenCudaBackend(const std::vector<fs::path>& candidates,
                                                   const BackendOptions& options) {
  const fs::path path = FirstThatExists(candidates);
  if (path.empty()) return UnavailableError(std::string("cuda: no ") + kLibrary);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return UnavailableError("cuda: " + LastLoaderError());
  const auto entry = reinterpret_cast<PluginFunction>(dlsym(library, kPluginSymbol));
  const BackendPlugin* plugin = entry == nullptr ? nullptr : entry();
  if (plugin == nullptr || plugin->abi != kPluginAbi ||
      std::string_view(plugin->contract) != INFERD_PLUGIN_CONTRACT) {
    return FailedPreconditionError("cuda: " + path.string() +
                                   " belongs to another build of inferd");
  }
  std::unique_ptr<Backend> backend;
  INFERD_RETURN_IF_ERROR(plugin->create(options, &backend));
  return backend;
}

}  // namespace inferd
