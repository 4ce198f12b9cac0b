// Products that read x once for 64 outputs: the bits of those for few rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <vector>

#include "cuda/linear_fp8.h"
#include "cuda/linear_int4.h"
#include "cuda/linear_skinny.h"
#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

// What a block has on GPUs of 8.9, 8.0 and 9.0.
constexpr int32_t kShared89 = 99 * 1024;
constexpr int32_t kShared80 = 163 * 1024;
constexpr int32_t kShared90 = 227 * 1024;

enum class Format : uint8_t { kBf16, kF16, kInt8, kFp8, kInt4 };

struct Case {
  Format format;
  int32_t rows;
  int32_t inputs;
  int32_t outputs;
  int32_t group;      // fp8, int4
  bool bare = false;  // no bias; fp8: no scales of rows
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  const char* const names[] = {"bf16", "f16", "int8", "fp8", "int4"};
  return out << names[static_cast<int>(c.format)] << ", " << c.rows << " rows of " << c.inputs
             << ", " << c.outputs << " outputs, groups of " << c.group;
}

std::vector<uint8_t> Bytes(uint32_t seed, int64_t size) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  return bytes;
}

// Finite numbers of 16 bits.
template <class Number>
std::vector<uint8_t> Numbers(uint32_t seed, int64_t bytes) {
  std::vector<uint8_t> numbers;
  for (const float v : Normals(seed, static_cast<size_t>(bytes / 2))) {
    const uint16_t bits = FromFloat<Number>(v).bits;
    numbers.push_back(static_cast<uint8_t>(bits));
    numbers.push_back(static_cast<uint8_t>(bits >> 8));
  }
  return numbers;
}

// A product's operands; any part of its rows can be multiplied.
class Operands {
 public:
  explicit Operands(const Case& c) : c_(c) {
    const int64_t rows = c.rows;
    const int64_t outputs = c.outputs;
    int64_t padded_outputs = outputs;
    switch (c.format) {
      case Format::kBf16:
        x_row_ = Bf16RowBytes(c.inputs);
        x_ = Numbers<Bf16>(1, rows * x_row_);
        weights_ = Numbers<Bf16>(2, outputs * x_row_);
        break;
      case Format::kF16:
        x_row_ = HalfRowBytes(c.inputs);
        x_ = Numbers<Half>(1, rows * x_row_);
        weights_ = Numbers<Half>(2, outputs * x_row_);
        break;
      case Format::kInt8:
        x_row_ = Int8RowBytes(c.inputs);
        x_ = Bytes(1, rows * x_row_);
        weights_ = Bytes(2, outputs * x_row_);
        break;
      case Format::kFp8:
        x_row_ = 2 * Fp8RowBytes(c.inputs);
        x_ = Numbers<Bf16>(1, rows * x_row_);
        weights_ = Bytes(2, outputs * Fp8RowBytes(c.inputs));
        for (uint8_t& code : weights_) code = code % 128 == 127 ? 0 : code;  // NaN
        break;
      case Format::kInt4:
        x_row_ = Int4RowBytes(c.inputs);
        x_ = Bytes(1, rows * x_row_);
        weights_ = Bytes(2, Int4CodeBytes(outputs, c.inputs));
        padded_outputs = RoundUp(outputs, kInt4TileOutputs);
        break;
    }
    groups_ = c.format == Format::kFp8 || c.format == Format::kInt4 ? c.inputs / c.group : 1;
    x_scales_ = Normals(3, static_cast<size_t>(rows * groups_));
    weight_scales_ = Normals(4, static_cast<size_t>(groups_ * padded_outputs));
    zeros_ = Bytes(5, groups_ * padded_outputs);
    for (uint8_t& zero : zeros_) zero %= 16;
    bias_ = Normals(6, static_cast<size_t>(outputs));
  }

  std::vector<float> Product(int32_t first, int32_t rows, int32_t shared_bytes) const {
    DeviceArray<uint8_t> x(Part(x_, first * x_row_, rows * x_row_));
    DeviceArray<float> scales(Part(x_scales_, first * groups_, rows * groups_));
    DeviceArray<uint8_t> weights(weights_);
    DeviceArray<float> weight_scales(weight_scales_);
    DeviceArray<uint8_t> zeros(zeros_);
    DeviceArray<float> biases(bias_);
    const float* const x_scales = c_.bare && c_.format == Format::kFp8 ? nullptr : scales.data();
    const float* const bias = c_.bare ? nullptr : biases.data();
    DeviceArray<float> out(static_cast<size_t>(rows) * static_cast<size_t>(c_.outputs));
    const auto row_bytes = static_cast<int32_t>(x_row_);
    int error = -1;
    switch (c_.format) {
      case Format::kBf16:
        error = LinearBf16({x.data(), weights.data(), bias, out.data(), rows, c_.outputs, row_bytes,
                            1, shared_bytes},
                           nullptr);
        break;
      case Format::kF16:
        error = LinearHalf({x.data(), x_scales, weights.data(), bias, out.data(), rows, c_.outputs,
                            row_bytes, 1, shared_bytes},
                           nullptr);
        break;
      case Format::kInt8:
        error = LinearInt8({x.data(), x_scales, weights.data(), weight_scales.data(), bias,
                            out.data(), rows, c_.outputs, row_bytes, shared_bytes},
                           nullptr);
        break;
      case Format::kFp8:
        error = LinearFp8({x.data(), x_scales, weights.data(), weight_scales.data(), bias,
                           out.data(), rows, c_.outputs, c_.inputs, c_.group, 1, shared_bytes},
                          nullptr);
        break;
      case Format::kInt4:
        error = LinearInt4({x.data(), x_scales, weights.data(), weight_scales.data(), zeros.data(),
                            bias, out.data(), rows, c_.outputs, c_.inputs, c_.group, shared_bytes},
                           nullptr);
        break;
    }
    EXPECT_EQ(error, 0) << emulator::LastError();
    return out.Get();
  }

 private:
  template <class T>
  static std::vector<T> Part(const std::vector<T>& all, int64_t first, int64_t size) {
    return {all.begin() + first, all.begin() + first + size};
  }

  Case c_;
  int64_t x_row_ = 0;  // bytes
  int64_t groups_ = 1;
  std::vector<uint8_t> x_;
  std::vector<uint8_t> weights_;
  std::vector<uint8_t> zeros_;
  std::vector<float> x_scales_;
  std::vector<float> weight_scales_;
  std::vector<float> bias_;
};

class WideTest : public ::testing::TestWithParam<Case> {};

TEST_P(WideTest, ARowIsTheSameBitsHoweverManyThereAre) {
  const Case& c = GetParam();
  const Operands operands(c);
  std::vector<float> few;
  for (int32_t first = 0; first < c.rows; first += 8) {
    const std::vector<float> rows =
        operands.Product(first, std::min(8, c.rows - first), /*shared_bytes=*/0);
    few.insert(few.end(), rows.begin(), rows.end());
  }
  for (const float sum : few) ASSERT_TRUE(std::isfinite(sum) && sum != 0);
  uint64_t seed = 0;
  for (const int32_t shared_bytes : {0, kShared89, kShared80, kShared90}) {
    emulator::SetSeed(++seed);
    const std::vector<float> many = operands.Product(0, c.rows, shared_bytes);
    ASSERT_EQ(many.size(), few.size());
    EXPECT_EQ(std::memcmp(many.data(), few.data(), few.size() * sizeof(float)), 0)
        << shared_bytes << " bytes of shared memory";
  }
}

// One block of inputs; fewer than warps; not a multiple of their number; more than the rings hold;
// a part of a block; outputs and rows that end within tiles, and further tiles of rows.
INSTANTIATE_TEST_SUITE_P(
    Bits16, WideTest,
    ::testing::Values(Case{Format::kBf16, 33, 32, 40, 0}, Case{Format::kBf16, 64, 160, 64, 0},
                      Case{Format::kBf16, 36, 32 * 35, 65, 0},
                      Case{Format::kBf16, 70, 32 * 25, 64, 0}, Case{Format::kF16, 50, 350, 130, 0},
                      Case{Format::kF16, 64, 512, 1, 0}, Case{Format::kBf16, 40, 64, 64, 0, true}));
INSTANTIATE_TEST_SUITE_P(Bits8, WideTest,
                         ::testing::Values(Case{Format::kInt8, 33, 64, 40, 0},
                                           Case{Format::kInt8, 64, 64 * 35, 65, 0},
                                           Case{Format::kInt8, 70, 700, 130, 0},
                                           Case{Format::kInt8, 40, 64, 64, 0, true}));
INSTANTIATE_TEST_SUITE_P(Fp8, WideTest,
                         ::testing::Values(Case{Format::kFp8, 16, 640, 40, 640},
                                           Case{Format::kFp8, 17, 64, 40, 64},
                                           Case{Format::kFp8, 32, 64 * 35, 65, 64 * 35},
                                           Case{Format::kFp8, 64, 64 * 27, 130, 64 * 27},
                                           Case{Format::kFp8, 70, 700, 64, 700},
                                           Case{Format::kFp8, 20, 1760, 70, 32},
                                           Case{Format::kFp8, 40, 128 * 18, 33, 128},
                                           Case{Format::kFp8, 64, 96 * 7, 64, 96},
                                           Case{Format::kFp8, 20, 256, 64, 256, true},
                                           Case{Format::kFp8, 50, 64 * 33, 64, 64, true}));
INSTANTIATE_TEST_SUITE_P(Int4, WideTest,
                         ::testing::Values(Case{Format::kInt4, 16, 640, 40, 128},
                                           Case{Format::kInt4, 17, 128, 40, 128},
                                           Case{Format::kInt4, 32, 128 * 35, 65, 128},
                                           Case{Format::kInt4, 33, 1760, 130, 32},
                                           Case{Format::kInt4, 64, 96 * 7, 64, 96},
                                           Case{Format::kInt4, 70, 64 * 21, 1, 64},
                                           Case{Format::kInt4, 40, 512 * 5, 70, 256, true}));

TEST(TakesWide, WhereRowsAndSharedMemoryAreEnough) {
  constexpr int32_t kTwoStages = 8 * 2 * (64 + 64) * 64;
  SkinnyParams p = {};
  p.rows = 33;
  p.terms = 1;
  EXPECT_TRUE(TakesWide(p, kTwoStages));
  EXPECT_FALSE(TakesWide(p, kTwoStages - 1));
  p.terms = 3;
  EXPECT_FALSE(TakesWide(p, kShared90));
  p.terms = 1;
  p.rows = 32;
  EXPECT_FALSE(TakesWide(p, kShared90));
}

TEST(TakesWide, E4m3OfOneTermAndGroupsOfWholeBlocks) {
  fp8::Fp8Params p = {};
  p.rows = 17;
  p.terms = 1;
  p.groups = 1;
  p.group_halves = 1;
  EXPECT_TRUE(TakesWide(p, kShared80));
  EXPECT_FALSE(TakesWide(p, kShared89));
  p.groups = 2;
  EXPECT_FALSE(TakesWide(p, kShared90));
  p.group_halves = 2;
  EXPECT_TRUE(TakesWide(p, kShared80));
  p.terms = 3;
  EXPECT_FALSE(TakesWide(p, kShared90));
  p.terms = 1;
  p.rows = 16;
  EXPECT_FALSE(TakesWide(p, kShared90));
}

TEST(TakesWide, FourBitsInAnyGroups) {
  int4::Int4Params p = {};
  p.rows = 17;
  for (const int32_t group_steps : {1, 2, 3, 4, 8}) {
    p.group_steps = group_steps;
    EXPECT_TRUE(TakesWide(p, kShared80)) << group_steps;
    EXPECT_FALSE(TakesWide(p, kShared89)) << group_steps;
  }
  p.rows = 16;
  EXPECT_FALSE(TakesWide(p, kShared90));
}

}  // namespace
}  // namespace inferd::cuda::testing
