#pragma once

#include <algorithm>
#include <cstdint>

namespace inferd {

// How long somebody has been waited for, as far as it tells that he hangs: of the time between
// looks only what the watcher was awake for counts, and none in which he read from disk, as when
// mapped weights had to leave the page cache, up to a limit. One thread.
class HangCounter {
 public:
  // Reading from disk excuses no more than this of one wait.
  static constexpr int64_t kMostExcusedUs = 60'000'000;

  // `look_us`: the time from look to look, if nothing delays the watcher.
  explicit HangCounter(int64_t look_us) : look_us_(look_us) {}

  // Something else is waited for from now on.
  void Restart() {
    counted_us_ = 0;
    excused_us_ = 0;
    disk_bytes_ = -1;
  }
  // At a look, `passed_us` after the last one. `disk_bytes`: how many bytes he has ever had from
  // disk, page faults included, or -1 when that is not known.
  void Look(int64_t passed_us, int64_t disk_bytes) {
    const int64_t awake_us = std::clamp<int64_t>(passed_us, 0, 2 * look_us_);
    const bool reads =
        disk_bytes_ >= 0 && disk_bytes > disk_bytes_ && excused_us_ + awake_us <= kMostExcusedUs;
    (reads ? excused_us_ : counted_us_) += awake_us;
    disk_bytes_ = disk_bytes;
  }
  int64_t counted_us() const { return counted_us_; }

 private:
  const int64_t look_us_;
  int64_t counted_us_ = 0;
  int64_t excused_us_ = 0;
  int64_t disk_bytes_ = -1;  // at the last look
};

}  // namespace inferd
