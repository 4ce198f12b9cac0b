#pragma once

#include <chrono>
#include <cstdint>

#include "inferd/base/hang_counter.h"
#include "inferd/engine/engine.h"

namespace inferd::app {

// Tells a hung step from a process that was stopped or reads its memory from disk (HangCounter).
// One thread.
class StepWatch {
 public:
  // `interval`: how often Hung will be called.
  explicit StepWatch(std::chrono::microseconds interval) : counter_(interval.count()) {}

  // `disk_bytes`: of this process, as HangCounter::Look takes them.
  bool Hung(const EngineStats& stats, int64_t disk_bytes = -1) {
    const bool same_step = stats.step_waited_us > last_waited_us_;
    if (!same_step) counter_.Restart();
    counter_.Look(stats.step_waited_us - (same_step ? last_waited_us_ : 0), disk_bytes);
    last_waited_us_ = stats.step_waited_us;
    return stats.step_limit_us > 0 && counter_.counted_us() > stats.step_limit_us;
  }

 private:
  HangCounter counter_;
  int64_t last_waited_us_ = 0;
};

// Whether the engine gets on: it is alive, and no step has taken `patience`.
inline bool EngineMoves(const EngineStats& stats, std::chrono::microseconds patience) {
  return !stats.dead() && stats.step_waited_us < patience.count();
}

}  // namespace inferd::app
