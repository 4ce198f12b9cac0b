#pragma once

#include <cstdint>
#include <vector>

namespace inferd::quantize {

// What the inputs of some linear layers look like: how large each is on average,
// over all rows seen, and some whole rows, evenly spread.
class InputSample {
 public:
  static constexpr int64_t kMostRows = 1024;

  // `total_rows` are going to be added.
  InputSample(int64_t features, int64_t total_rows);

  // `count` more rows [count, features].
  void Add(const float* rows, int64_t count);

  int64_t features() const { return features_; }
  int64_t num_rows() const { return static_cast<int64_t>(rows_.size()) / features_; }
  float* row(int64_t i) { return rows_.data() + i * features_; }
  const float* row(int64_t i) const { return rows_.data() + i * features_; }
  // mean |x| of each feature over all rows added.
  std::vector<float> MeanAbs() const;

 private:
  int64_t features_ = 0;
  int64_t total_ = 0;
  int64_t seen_ = 0;
  std::vector<double> sums_;  // [features] of |x|
  std::vector<float> rows_;
};

}  // namespace inferd::quantize
