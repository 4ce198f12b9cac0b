#include "inferd/base/histogram.h"

#include <algorithm>

#include "inferd/base/check.h"

namespace inferd {

Histogram::Histogram(std::span<const double> bounds) : num_bounds_(bounds.size()) {
  INFERD_CHECK(bounds.size() <= kMaxBuckets);
  INFERD_CHECK(std::is_sorted(bounds.begin(), bounds.end()));
  std::copy(bounds.begin(), bounds.end(), bounds_.begin());
}

void Histogram::ObserveMany(double value, uint64_t times) {
  const auto first = bounds_.begin();
  const auto last = first + static_cast<std::ptrdiff_t>(num_bounds_);
  const auto bucket = static_cast<size_t>(std::lower_bound(first, last, value) - first);
  counts_[bucket] += times;
  count_ += times;
  sum_ += value * static_cast<double>(times);
}

void Histogram::Add(const Histogram& other) {
  INFERD_CHECK(
      std::equal(bounds().begin(), bounds().end(), other.bounds().begin(), other.bounds().end()));
  for (size_t i = 0; i <= num_bounds_; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
}

}  // namespace inferd
