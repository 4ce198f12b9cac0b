#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "inferd/comm/host_channel.h"

namespace inferd::runtime {

// Ends the process of a rank whose engine is gone, whatever the rank is doing: loading, waiting
// for other ranks, or a step. A thread looks after the channel's health; a second after it has
// broken the process ends with kExitEngineGone and a line on standard error, unless it has
// ended by itself.
class EngineWatch {
 public:
  static constexpr int kExitEngineGone = 71;

  // `channel` outlives the watch.
  explicit EngineWatch(const HostChannel& channel);
  ~EngineWatch();
  EngineWatch(const EngineWatch&) = delete;
  EngineWatch& operator=(const EngineWatch&) = delete;

 private:
  void Watch();

  const HostChannel& channel_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // under mutex_
  std::thread thread_;     // last
};

}  // namespace inferd::runtime
