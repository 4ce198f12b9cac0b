#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace inferd {

// How fast a queue moves: the time per request that left it for the ranks, counted
// only while somebody waited, over the last departures of the last minute. Bursts, idle
// time and lack of data make it small, so whoever multiplies it by a place in the queue
// expects too short a wait rather than too long a one. One thread at a time; times are
// Clock::NowUs and do not go back.
class QueuePace {
 public:
  // Fewer departures than this tell nothing.
  static constexpr size_t kMinDepartures = 8;
  static constexpr int64_t kMaxAgeUs = 60'000'000;

  // Before the queue's length changes: `waited` if somebody was in it until now.
  void Advance(int64_t now_us, bool waited) {
    if (now_us <= last_us_) return;
    if (waited) waited_us_ += now_us - last_us_;
    last_us_ = now_us;
  }

  // One request left the queue to be computed, at the time last advanced to.
  void Depart() {
    departures_[num_departures_ % kWindow] = {last_us_, waited_us_};
    ++num_departures_;
  }

  // 0 without enough data.
  double UsPerRequest(int64_t now_us) const {
    const size_t known = num_departures_ < kWindow ? num_departures_ : kWindow;
    size_t used = 0;
    while (used < known && now_us - Back(used).at_us <= kMaxAgeUs) ++used;
    if (used < kMinDepartures) return 0;
    // The oldest only marks the time at which the others began to wait for it.
    const int64_t span_us = Back(0).waited_us - Back(used - 1).waited_us;
    return static_cast<double>(span_us) / static_cast<double>(used - 1);
  }

 private:
  static constexpr size_t kWindow = 32;
  struct Departure {
    int64_t at_us = 0;
    int64_t waited_us = 0;  // of the whole history until then
  };

  // The last departure but `age`.
  const Departure& Back(size_t age) const {
    return departures_[(num_departures_ - 1 - age) % kWindow];
  }

  std::array<Departure, kWindow> departures_{};
  size_t num_departures_ = 0;
  int64_t last_us_ = 0;
  int64_t waited_us_ = 0;
};

}  // namespace inferd
