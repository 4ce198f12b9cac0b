#include "runtime/engine_watch.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <string>

namespace inferd::runtime {
namespace {

constexpr std::chrono::milliseconds kLook(100);
constexpr int kLooksToEnd = 10;

}  // namespace

EngineWatch::EngineWatch(const HostChannel& channel)
    : channel_(channel), thread_([this] { Watch(); }) {}

EngineWatch::~EngineWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void EngineWatch::Watch() {
  (void)pthread_setname_np(pthread_self(), "inferd-watch");
  std::unique_lock lock(mutex_);
  for (int looks = 0; !stop_.wait_for(lock, kLook, [this] { return stopping_; });) {
    const Status health = channel_.health();
    if (health.ok() || ++looks < kLooksToEnd) continue;
    const std::string line = "E|the engine is gone: " + health.ToString() + "\n";
    (void)!write(STDERR_FILENO, line.data(), line.size());
    _exit(kExitEngineGone);
  }
}

}  // namespace inferd::runtime
