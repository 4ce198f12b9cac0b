#include "net/shared_pace.h"

#include <algorithm>
#include <cmath>

namespace inferd::net {
namespace {

constexpr int64_t kSecondMs = 1'000;
// So much of a second's worth may come at once.
constexpr double kBurst = 0.25;

}  // namespace

int64_t SharedPace::Add(int64_t amount, int64_t now_ms) {
  const auto rate = static_cast<double>(per_second_);
  std::lock_guard lock(mutex_);
  bucket_.Drain(per_second_, kSecondMs, now_ms);
  // Nobody waits for more than the longest wait's worth of others.
  const double most = rate * (kBurst + static_cast<double>(kMaxWaitMs) / kSecondMs);
  const double room = std::max(0.0, most - bucket_.level());
  bucket_.Add(static_cast<int64_t>(std::min(static_cast<double>(amount), std::ceil(room))));
  const double excess = std::max(0.0, bucket_.level() - rate * kBurst);
  return std::min(kMaxWaitMs, static_cast<int64_t>(std::ceil(excess / rate * kSecondMs)));
}

}  // namespace inferd::net
