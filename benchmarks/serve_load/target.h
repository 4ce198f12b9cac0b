#pragma once

#include <chrono>
#include <functional>

#include "inferd/base/status.h"
#include "serve_load/record.h"
#include "serve_load/work.h"

namespace inferd::bench {

using SteadyClock = std::chrono::steady_clock;

// A server under load, by one protocol. Called from one thread.
class Target {
 public:
  virtual ~Target() = default;
  // How many tokens the model knows; asks the server.
  virtual StatusOr<int32_t> VocabSize() = 0;
  // Starts one streamed request and returns. `work` and `record` live until
  // `done` is called, once, from any thread. Times are seconds since `start`.
  virtual void Begin(const Work& work, SteadyClock::time_point start, RequestRecord& record,
                     std::function<void()> done) = 0;
};

inline double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

}  // namespace inferd::bench
