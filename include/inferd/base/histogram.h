#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace inferd {

// A plain cumulative histogram with fixed upper bounds, owned by one thread and
// copied out by value (it is trivially copyable). At most kMaxBuckets bounds;
// one more bucket catches everything above.
class Histogram {
 public:
  static constexpr size_t kMaxBuckets = 24;

  Histogram() = default;
  // `bounds` ascending, at most kMaxBuckets.
  explicit Histogram(std::span<const double> bounds);

  void Observe(double value) { ObserveMany(value, 1); }
  // As `times` observations of the same value.
  void ObserveMany(double value, uint64_t times);
  // As all of the other's observations; it has the same bounds.
  void Add(const Histogram& other);

  std::span<const double> bounds() const { return {bounds_.data(), num_bounds_}; }
  // Observations per bucket, not cumulative; bounds().size() + 1 of them.
  std::span<const uint64_t> counts() const { return {counts_.data(), num_bounds_ + 1}; }
  double sum() const { return sum_; }
  uint64_t count() const { return count_; }

 private:
  std::array<double, kMaxBuckets> bounds_{};
  std::array<uint64_t, kMaxBuckets + 1> counts_{};
  size_t num_bounds_ = 0;
  double sum_ = 0;
  uint64_t count_ = 0;
};

}  // namespace inferd
