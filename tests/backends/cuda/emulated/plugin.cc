// libinferd_cuda.so on the emulated runtime: what `inferd` opens in tests that have no GPU.
//
// EMULATED_CUDA names a file of words. The first word is taken away and comes true once:
//   memory  the next time device memory is taken,
//   kernel  the next kernel,
//   graph   the next launch of a graph
// ends in an error that stays for the process. A word with ! behind it is not taken away: it
// comes true every time. Other events leave the file alone.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/plugin.h"
#include "inferd/base/unique_fd.h"

namespace inferd::testing {
namespace {

constexpr int kLaunchFailure = 719;
constexpr std::array<std::string_view, 3> kWords = {"memory", "kernel", "graph"};

// Takes the first word of the file away if it is `word`. Of several processes one does.
bool TakeWord(const char* path, std::string_view word) {
  const UniqueFd owner(open(path, O_RDWR | O_CLOEXEC));
  const int file = owner.get();
  if (file < 0) return false;
  (void)flock(file, LOCK_EX);
  std::array<char, 256> bytes{};
  const ssize_t count = pread(file, bytes.data(), bytes.size(), 0);
  const std::string_view text(bytes.data(), count > 0 ? static_cast<size_t>(count) : 0);
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view first = text.substr(0, end);
  const bool stays = first == std::string(word) + "!";
  const bool taken = stays || first == word;
  if (taken && !stays) {
    const std::string rest(text.substr(std::min(end + 1, text.size())));
    if (ftruncate(file, 0) != 0 ||
        pwrite(file, rest.data(), rest.size(), 0) != static_cast<ssize_t>(rest.size())) {
      std::abort();
    }
  }
  return taken;
}

Status Create(const BackendOptions& options, std::unique_ptr<Backend>* backend) {
  static const bool once = [] {
    ResetFakeCuda(int64_t{256} << 20);
    const char* devices = std::getenv("EMULATED_GPUS");
    SetFakeDevices(devices != nullptr ? std::atoi(devices) : 1);
    if (const char* path = std::getenv("EMULATED_CUDA"); path != nullptr) {
      SetFakeCudaFault([path](FakeCudaEvent event) {
        return TakeWord(path, kWords[static_cast<size_t>(event)]) ? kLaunchFailure : 0;
      });
    }
    return true;
  }();
  (void)once;
  INFERD_ASSIGN_OR_RETURN(*backend, MakeCudaBackend(options));
  return OkStatus();
}

constexpr BackendPlugin kPlugin{kPluginAbi, INFERD_PLUGIN_CONTRACT, &Create};

}  // namespace
}  // namespace inferd::testing

extern "C" __attribute__((visibility("default"))) const inferd::BackendPlugin*
inferd_cuda_plugin() {
  return &inferd::testing::kPlugin;
}
