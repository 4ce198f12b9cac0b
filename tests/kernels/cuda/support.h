// Memory and numbers for tests of emulated kernels.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "cuda/number.h"
#include "cuda/rows.h"
#include "support/sanitizers.h"

namespace inferd::cuda::testing {

// Instrumented builds look for accesses and races, for which fewer numbers do.
inline constexpr bool kInstrumented = inferd::testing::kSanitized;

// Memory of exactly its size at the alignment the device's allocator gives, so that
// the address sanitizer sees the first byte outside; its content is 0xFF.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size)
      : size_(size), data_(static_cast<T*>(::operator new(size * sizeof(T), kAlignment))) {
    std::memset(static_cast<void*>(data_.get()), 0xFF, size * sizeof(T));
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (size_ > 0) std::memcpy(data_.get(), values.data(), size_ * sizeof(T));
  }
  T* data() { return data_.get(); }
  T& operator[](size_t i) { return data_.get()[i]; }
  size_t size() const { return size_; }
  std::vector<T> Get() const { return {data_.get(), data_.get() + size_}; }

 private:
  static constexpr std::align_val_t kAlignment{256};
  struct Delete {
    void operator()(T* p) const { ::operator delete(p, kAlignment); }
  };
  size_t size_;
  std::unique_ptr<T, Delete> data_;
};

inline std::vector<float> Normals(uint32_t seed, size_t n, float deviation = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

inline size_t ElementSize(Element type) { return type == Element::kF32 ? 4 : 2; }

// A matrix of a type, between rows wider than its columns.
class DeviceRows {
 public:
  DeviceRows(Element type, int64_t rows, int64_t columns, int64_t stride = 0)
      : rows_(rows),
        columns_(columns),
        stride_(stride == 0 ? columns : stride),
        type_(type),
        bytes_(static_cast<size_t>(rows * stride_) * ElementSize(type)) {}
  DeviceRows(Element type, int64_t rows, int64_t columns, const std::vector<float>& values)
      : DeviceRows(type, rows, columns) {
    for (int64_t i = 0; i < rows * columns; ++i) Set(i, values[static_cast<size_t>(i)]);
  }
  Rows view() { return {bytes_.data(), stride_, type_}; }
  float At(int64_t row, int64_t column) {
    const int64_t i = row * stride_ + column;
    if (type_ == Element::kF32) return reinterpret_cast<float*>(bytes_.data())[i];
    if (type_ == Element::kBf16) return ToFloat(reinterpret_cast<Bf16*>(bytes_.data())[i]);
    return ToFloat(reinterpret_cast<Half*>(bytes_.data())[i]);
  }
  // Columns only, row by row.
  std::vector<float> Get() {
    std::vector<float> values;
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < columns_; ++c) values.push_back(At(r, c));
    }
    return values;
  }

 private:
  void Set(int64_t i, float value) {
    if (type_ == Element::kF32) {
      reinterpret_cast<float*>(bytes_.data())[i] = value;
    } else if (type_ == Element::kBf16) {
      reinterpret_cast<Bf16*>(bytes_.data())[i] = FromFloat<Bf16>(value);
    } else {
      reinterpret_cast<Half*>(bytes_.data())[i] = FromFloat<Half>(value);
    }
  }
  int64_t rows_;
  int64_t columns_;
  int64_t stride_;
  Element type_;
  DeviceArray<unsigned char> bytes_;
};

// Calls run() under several seeds and expects it to answer 0 and get() the same each
// time.
template <class Run, class Get>
auto RunUnderSeeds(int seeds, Run run, Get get) {
  emulator::SetSeed(0);
  EXPECT_EQ(run(), 0) << emulator::LastError();
  auto first = get();
  for (int seed = 1; seed < seeds; ++seed) {
    emulator::SetSeed(static_cast<uint64_t>(seed));
    EXPECT_EQ(run(), 0) << emulator::LastError();
    const auto again = get();
    EXPECT_TRUE(first.size() == again.size() &&
                std::memcmp(first.data(), again.data(), first.size() * sizeof(first[0])) == 0)
        << "seed " << seed << " gives other bits";
  }
  return first;
}

// |a - b| <= tolerance * (|b| + rms(b)), everywhere.
inline void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected,
                       double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double squares = 0;
  for (const double v : expected) squares += v * v;
  const double rms = std::sqrt(squares / static_cast<double>(expected.size())) + 1e-30;
  double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(actual[i] - expected[i]) / (std::fabs(expected[i]) + rms);
    if (!(error <= worst)) {
      worst = std::isnan(error) ? INFINITY : error;
      where = i;
    }
  }
  EXPECT_LE(worst, tolerance) << "at " << where << ": " << actual[where] << " for "
                              << expected[where];
}

}  // namespace inferd::cuda::testing
