#include "runtime/chaos/scene.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <new>

#include "inferd/base/check.h"

namespace inferd::testing {
namespace {

Scene* Map(const UniqueFd& fd) {
  INFERD_CHECK(fd.get() >= 0);
  void* const memory =
      mmap(nullptr, sizeof(Scene), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  INFERD_CHECK(memory != MAP_FAILED);
  return static_cast<Scene*>(memory);
}

}  // namespace

const char* NameOf(Phase phase) {
  static constexpr std::array<const char*, kNumPhases> kNames = {"start",
                                                                 "meeting",
                                                                 "loading",
                                                                 "warm_up",
                                                                 "idle",
                                                                 "plan_waiting",
                                                                 "plan_read",
                                                                 "prefill",
                                                                 "decode",
                                                                 "before_sum",
                                                                 "in_sum",
                                                                 "after_sum",
                                                                 "before_hand_over",
                                                                 "in_hand_over",
                                                                 "after_hand_over",
                                                                 "result_ready",
                                                                 "result_sent",
                                                                 "stop"};
  return kNames[static_cast<size_t>(phase)];
}

const char* NameOf(Fault fault) {
  static constexpr std::array<const char*, kNumFaults> kNames = {
      "killed",        "segv",         "stopped",       "memory", "paused",
      "engine_socket", "rank_sockets", "wrong_version", "held"};
  return kNames[static_cast<size_t>(fault)];
}

SharedScene::SharedScene() : fd_(memfd_create("chaos", MFD_CLOEXEC)) {
  INFERD_CHECK(ftruncate(fd_.get(), sizeof(Scene)) == 0);
  scene_ = new (Map(fd_)) Scene;
}

SharedScene::SharedScene(const std::string& path)
    : fd_(open(path.c_str(), O_RDWR | O_CLOEXEC)), scene_(Map(fd_)) {}

SharedScene::~SharedScene() { munmap(scene_, sizeof(Scene)); }

std::string SharedScene::path() const {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_.get());
}

}  // namespace inferd::testing
