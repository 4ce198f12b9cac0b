#pragma once

#include <algorithm>
#include <cstdint>

namespace inferd::runtime {

// How long to wait before ranks are started again. One thread.
class RestartBackoff {
 public:
  RestartBackoff(int64_t first_us, int64_t last_us, int64_t healthy_us)
      : first_us_(first_us), last_us_(last_us), healthy_us_(healthy_us), next_us_(first_us) {}

  // After ranks that lived for `lived_us` (0: they did not come up).
  int64_t Next(int64_t lived_us) {
    if (lived_us >= healthy_us_) next_us_ = first_us_;
    const int64_t wait_us = next_us_;
    next_us_ = std::min(2 * next_us_, last_us_);
    return wait_us;
  }

 private:
  const int64_t first_us_;
  const int64_t last_us_;
  const int64_t healthy_us_;
  int64_t next_us_;
};

}  // namespace inferd::runtime
