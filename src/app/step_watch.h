#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "inferd/engine/engine.h"

namespace inferd::app {

// Tells a hung step from a process that was stopped: of the time that a step has taken,
// only what this watch was awake for counts, at most two intervals per look. One thread.
class StepWatch {
 public:
  // `interval`: how often Hung will be called.
  explicit StepWatch(std::chrono::microseconds interval) : interval_us_(interval.count()) {}

  bool Hung(const EngineStats& stats) {
    const bool same_step = stats.step_waited_us > last_waited_us_;
    const int64_t passed_us = stats.step_waited_us - (same_step ? last_waited_us_ : 0);
    counted_us_ = (same_step ? counted_us_ : 0) + std::min(passed_us, 2 * interval_us_);
    last_waited_us_ = stats.step_waited_us;
    return stats.step_limit_us > 0 && counted_us_ > stats.step_limit_us;
  }

 private:
  const int64_t interval_us_;
  int64_t last_waited_us_ = 0;
  int64_t counted_us_ = 0;
};

// Whether the engine gets on: it is alive, and no step has taken `patience`.
inline bool EngineMoves(const EngineStats& stats, std::chrono::microseconds patience) {
  return !stats.dead() && stats.step_waited_us < patience.count();
}

}  // namespace inferd::app
