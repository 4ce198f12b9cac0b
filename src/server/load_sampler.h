#pragma once

#include <cstdint>
#include <deque>
#include <mutex>

#include "inferd/engine/engine.h"

namespace inferd {

// Token rates over the last seconds, from samples of the engine's counters.
// Thread-safe.
class LoadSampler {
 public:
  struct Rates {
    double generation_tokens_per_second = 0;
    double prompt_tokens_per_second = 0;
  };

  void Sample(int64_t now_us, const EngineStats& stats) {
    std::lock_guard lock(mutex_);
    if (!samples_.empty() && now_us - samples_.back().at_us < kSpacingUs) return;
    samples_.push_back({now_us, stats.generation_tokens, stats.prompt_tokens});
    while (samples_.size() > kMaxSamples) samples_.pop_front();
  }

  Rates Get() const {
    std::lock_guard lock(mutex_);
    if (samples_.size() < 2) return {};
    const Point& first = samples_.front();
    const Point& last = samples_.back();
    const double seconds = static_cast<double>(last.at_us - first.at_us) / 1e6;
    return {static_cast<double>(last.generated - first.generated) / seconds,
            static_cast<double>(last.prompt - first.prompt) / seconds};
  }

 private:
  static constexpr int64_t kSpacingUs = 1'000'000;
  static constexpr size_t kMaxSamples = 11;  // ten seconds
  struct Point {
    int64_t at_us;
    uint64_t generated;
    uint64_t prompt;
  };
  mutable std::mutex mutex_;
  std::deque<Point> samples_;
};

}  // namespace inferd
