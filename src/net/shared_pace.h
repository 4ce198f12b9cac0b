#pragma once

#include <cstdint>
#include <mutex>

#include "net/leaky_bucket.h"

namespace inferd::net {

// Work that all connections together may ask for in vain: past a rate, whoever asks for more
// of it waits. Thread-safe.
class SharedPace {
 public:
  // `per_second` > 0.
  explicit SharedPace(int64_t per_second) : per_second_(per_second) {}

  // Notes `amount` of it. How long, in ms, whoever asked for it is to be let be; 0 while the
  // rate is kept, at most kMaxWaitMs.
  int64_t Add(int64_t amount, int64_t now_ms);

  static constexpr int64_t kMaxWaitMs = 2'000;

 private:
  const int64_t per_second_;
  std::mutex mutex_;
  LeakyBucket bucket_;  // under mutex_
};

}  // namespace inferd::net
