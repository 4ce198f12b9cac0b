#pragma once

#include <algorithm>
#include <cstdint>

namespace inferd {

// Whether the other end of a connection has said nothing for too long. Of the time only what this
// end was awake for counts, at most `longest_look_us` from one look to the next: a process
// that was stopped has not read what lies there. One thread.
class SilenceWatch {
 public:
  SilenceWatch(int64_t limit_us, int64_t longest_look_us, int64_t now_us)
      : limit_us_(limit_us), longest_look_us_(longest_look_us), last_look_us_(now_us) {}

  // `heard` counts what has come so far, in any unit. True once nothing has for longer
  // than the limit.
  bool Look(int64_t now_us, uint64_t heard) {
    silent_us_ += std::clamp<int64_t>(now_us - last_look_us_, 0, longest_look_us_);
    last_look_us_ = now_us;
    if (heard != heard_) silent_us_ = 0;
    heard_ = heard;
    return silent_us_ > limit_us_;
  }
  // What lies there is not being taken: the other end cannot be heard.
  void Restart(int64_t now_us) {
    silent_us_ = 0;
    last_look_us_ = now_us;
  }

 private:
  const int64_t limit_us_;
  const int64_t longest_look_us_;
  int64_t last_look_us_;
  int64_t silent_us_ = 0;
  uint64_t heard_ = 0;
};

}  // namespace inferd
