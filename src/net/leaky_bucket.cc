#include "net/leaky_bucket.h"

#include <algorithm>

namespace inferd::net {

void LeakyBucket::Drain(int64_t amount, int64_t window_ms, int64_t now_ms) {
  const auto elapsed_ms = static_cast<double>(std::max<int64_t>(0, now_ms - at_ms_));
  at_ms_ = std::max(at_ms_, now_ms);
  const double drained = elapsed_ms * static_cast<double>(amount) / static_cast<double>(window_ms);
  level_ = std::max(0.0, level_ - drained);
}

}  // namespace inferd::net
