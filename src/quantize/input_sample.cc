#include "quantize/input_sample.h"

#include <algorithm>
#include <cmath>

#include "inferd/base/check.h"

namespace inferd::quantize {

InputSample::InputSample(int64_t features, int64_t total_rows)
    : features_(features), total_(total_rows), sums_(static_cast<size_t>(features)) {
  INFERD_CHECK(features > 0 && total_rows > 0);
  rows_.reserve(static_cast<size_t>(features * std::min(kMostRows, total_rows)));
}

void InputSample::Add(const float* rows, int64_t count) {
  const int64_t kept = std::min(kMostRows, total_);
  for (int64_t r = 0; r < count; ++r, ++seen_) {
    const float* row = rows + r * features_;
    for (int64_t i = 0; i < features_; ++i) sums_[static_cast<size_t>(i)] += std::abs(row[i]);
    const bool keep = (seen_ + 1) * kept / total_ > seen_ * kept / total_;
    if (keep) rows_.insert(rows_.end(), row, row + features_);
  }
}

std::vector<float> InputSample::MeanAbs() const {
  std::vector<float> means(sums_.size());
  for (size_t i = 0; i < means.size(); ++i) {
    means[i] = static_cast<float>(sums_[i] / static_cast<double>(std::max<int64_t>(1, seen_)));
  }
  return means;
}

}  // namespace inferd::quantize
