#pragma once

#include <functional>
#include <initializer_list>
#include <thread>

#include "inferd/base/unique_fd.h"

namespace inferd::app {

// Blocks the signals in this thread and those it starts from now on.
void BlockSignals(std::initializer_list<int> signals);

// Receives signals on a thread of its own instead of in a handler. Create it
// before any other thread, so that all of them inherit the blocked mask.
class SignalWatcher {
 public:
  // `on_signal` runs on the watcher's thread, one signal at a time.
  SignalWatcher(std::initializer_list<int> signals, std::function<void(int)> on_signal);
  // Stops the thread; the signals stay blocked.
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void Run();

  const std::function<void(int)> on_signal_;
  UniqueFd signal_fd_;
  UniqueFd stop_fd_;
  std::thread thread_;
};

}  // namespace inferd::app
