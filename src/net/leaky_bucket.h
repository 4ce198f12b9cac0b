#pragma once

#include <cstdint>

namespace inferd::net {

// Amounts that drain away at a constant rate. Times in ms. One thread at a time.
class LeakyBucket {
 public:
  // Drains `amount` within `window_ms`.
  void Drain(int64_t amount, int64_t window_ms, int64_t now_ms);
  double level() const { return level_; }
  void Add(int64_t amount) { level_ += static_cast<double>(amount); }
  void Empty() { level_ = 0; }

 private:
  double level_ = 0;
  int64_t at_ms_ = 0;
};

}  // namespace inferd::net
