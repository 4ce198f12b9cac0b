#pragma once

#include <atomic>
#include <cstdint>

namespace inferd {

// Time, injected. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic microseconds since an arbitrary point.
  virtual int64_t NowUs() const = 0;
  // The same in nanoseconds.
  virtual int64_t NowNs() const { return NowUs() * 1000; }
  // Microseconds since the Unix epoch.
  virtual int64_t UnixUs() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  int64_t NowUs() const override;
  int64_t NowNs() const override;
  int64_t UnixUs() const override;
};

// A clock that only moves when told to. For tests.
class ManualClock final : public Clock {
 public:
  int64_t NowUs() const override { return now_us_.load(); }
  int64_t UnixUs() const override { return kEpochUs + now_us_.load(); }
  void AdvanceUs(int64_t delta_us) { now_us_.fetch_add(delta_us); }

 private:
  static constexpr int64_t kEpochUs = 1'700'000'000'000'000;
  std::atomic<int64_t> now_us_{0};
};

}  // namespace inferd
