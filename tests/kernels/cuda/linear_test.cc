// Products of few rows: the ways to the same bits, and rows in 16 bits.
#include "cuda/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

std::vector<uint16_t> Bf16s(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(FromFloat<Bf16>(v).bits);
  return bits;
}

// Rounding in the kernel is rounding before it, for numbers that are not finite as well, and
// however many rows there are.
TEST(LinearBf16, RowsOfFloatsAreRoundedAsOneTermIs) {
  struct Shape {
    int32_t rows;
    int32_t inputs;
    int32_t outputs;
  };
  for (const Shape& s : {Shape{1, 32, 16}, Shape{1, 4096, 40}, Shape{2, 1056, 17}, Shape{3, 96, 33},
                         Shape{4, 352, 100}}) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      emulator::SetSeed(seed);
      std::vector<float> numbers = Normals(1, static_cast<size_t>(s.rows * s.inputs));
      if (s.rows > 2) {
        numbers[5] = INFINITY;
        numbers[static_cast<size_t>(s.inputs) + 9] = NAN;
        numbers[static_cast<size_t>(2 * s.inputs)] = 1e-40F;
      }
      DeviceArray<float> x(numbers);
      DeviceArray<uint16_t> weights(
          Bf16s(Normals(2, static_cast<size_t>(s.outputs * s.inputs), 0.1F)));
      DeviceArray<float> bias(Normals(3, static_cast<size_t>(s.outputs)));
      DeviceArray<uint16_t> planes(static_cast<size_t>(s.rows * s.inputs));
      DeviceArray<float> split(static_cast<size_t>(s.rows * s.outputs));
      DeviceArray<float> direct(static_cast<size_t>(s.rows * s.outputs));
      const auto row_bytes = static_cast<int32_t>(Bf16RowBytes(s.inputs));
      ASSERT_EQ(SplitToBf16({x.data(), planes.data(), s.rows, s.inputs, row_bytes / 2, 1}, nullptr),
                0)
          << emulator::LastError();
      ASSERT_EQ(LinearBf16({planes.data(), weights.data(), bias.data(), split.data(), s.rows,
                            s.outputs, row_bytes, 1},
                           nullptr),
                0)
          << emulator::LastError();
      ASSERT_EQ(LinearBf16Rows({x.data(), weights.data(), bias.data(), direct.data(), s.rows,
                                s.outputs, s.inputs},
                               nullptr),
                0)
          << emulator::LastError();
      EXPECT_EQ(std::memcmp(split.data(), direct.data(), split.size() * sizeof(float)), 0)
          << s.rows << " " << s.inputs << " " << s.outputs;
      EXPECT_TRUE(s.rows > 2 || std::isfinite(direct[0]));
    }
  }
}

TEST(LinearBf16, RowsThatAreNotWholeBlocksAreNotTaken) {
  EXPECT_TRUE(TakesFloatRows(4, 64));
  EXPECT_FALSE(TakesFloatRows(5, 64));
  EXPECT_FALSE(TakesFloatRows(1, 48));
  EXPECT_FALSE(TakesFloatRows(1, 0));
  EXPECT_EQ(LinearBf16Rows({nullptr, nullptr, nullptr, nullptr, 1, 16, 48}, nullptr),
            kBadArguments);
}

// Rows of very different size: of subnormals, of numbers that f16 has no room for, of both ends at
// once; of zeros; and with what is not finite.
std::vector<float> RowsOfAllSizes(int32_t inputs) {
  std::vector<float> rows;
  for (const float size : {1.0F, 1e-42F, 3e-36F, 1e30F, 3.3e38F, 0.0F}) {
    std::vector<float> row = Normals(11, static_cast<size_t>(inputs), 0.25F);
    for (float& x : row) x = std::clamp(x, -1.0F, 1.0F) * size;
    rows.insert(rows.end(), row.begin(), row.end());
  }
  const auto last = static_cast<size_t>(5 * inputs);
  rows.insert(rows.end(), rows.begin(), rows.begin() + inputs);
  for (size_t i = 0; i < static_cast<size_t>(inputs); i += 3) {
    rows[last + static_cast<size_t>(inputs) + i] *= 1e-6F;
  }
  return rows;
}

struct Halves {
  std::vector<uint16_t> planes;  // [terms][rows][padded]
  std::vector<float> scales;
};
Halves Split(const std::vector<float>& x, int32_t rows, int32_t inputs, int32_t terms) {
  const auto padded = static_cast<int32_t>(HalfRowBytes(inputs) / 2);
  DeviceArray<float> from(x);
  DeviceArray<uint16_t> planes(static_cast<size_t>(terms) * static_cast<size_t>(rows * padded));
  DeviceArray<float> scales(static_cast<size_t>(rows));
  EXPECT_EQ(SplitToHalf({from.data(), planes.data(), scales.data(), rows, inputs, padded, terms},
                        nullptr),
            0)
      << emulator::LastError();
  return {planes.Get(), scales.Get()};
}

TEST(SplitToHalf, TermsAddUpToTheNumberWhateverItsSize) {
  for (const int32_t inputs : {1, 50, 1056}) {
    const std::vector<float> x = RowsOfAllSizes(inputs);
    const auto rows = static_cast<int32_t>(x.size()) / inputs;
    const auto padded = static_cast<size_t>(HalfRowBytes(inputs) / 2);
    for (const int32_t terms : {1, 3}) {
      const Halves split = Split(x, rows, inputs, terms);
      for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
        const auto* const first = &x[row * static_cast<size_t>(inputs)];
        double largest = 0;
        for (int32_t i = 0; i < inputs; ++i) largest = std::max(largest, double{fabsf(first[i])});
        int exponent = 0;
        EXPECT_EQ(std::frexp(split.scales[row], &exponent), 0.5F);  // a power of two
        for (size_t i = 0; i < padded; ++i) {
          double sum = 0;
          for (size_t t = 0; t < static_cast<size_t>(terms); ++t) {
            sum += ToFloat(Half{split.planes[(t * static_cast<size_t>(rows) + row) * padded + i]});
          }
          sum *= split.scales[row];
          const double wanted = i < static_cast<size_t>(inputs) ? double{first[i]} : 0.0;
          const double relative = terms == 1 ? 0x1p-11 : 0x1p-33;
          EXPECT_NEAR(sum, wanted, std::abs(wanted) * relative + largest * 0x1p-39)
              << row << " " << i;
        }
      }
    }
  }
}

TEST(SplitToHalf, WhatIsNotFiniteStaysSoAndAlone) {
  std::vector<float> x = Normals(4, 3 * 64);
  x[3] = INFINITY;
  x[64 + 5] = -INFINITY;
  x[64 + 6] = NAN;
  const Halves split = Split(x, 3, 64, 3);
  const auto at = [&](size_t term, size_t i) {
    return ToFloat(Half{split.planes[term * 192 + i]});
  };
  EXPECT_EQ(at(0, 3), INFINITY);
  EXPECT_EQ(at(0, 64 + 5), -INFINITY);
  EXPECT_TRUE(std::isnan(at(0, 64 + 6)));
  for (const size_t term : {1U, 2U}) EXPECT_EQ(at(term, 3), 0.0F);
  for (size_t i = 0; i < 192; ++i) {
    if (std::isfinite(x[i])) {
      EXPECT_NEAR((at(0, i) + at(1, i)) * split.scales[i / 64], x[i], 1e-5F);
    }
  }
}

std::vector<uint16_t> HalfWeights(int32_t outputs, int32_t inputs) {
  const std::vector<float> values =
      Normals(2, static_cast<size_t>(outputs) * static_cast<size_t>(inputs), 0.1F);
  const auto padded = static_cast<size_t>(HalfRowBytes(inputs) / 2);
  std::vector<uint16_t> bits(static_cast<size_t>(outputs) * padded);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto columns = static_cast<size_t>(inputs);
    bits[i / columns * padded + i % columns] = FromFloat<Half>(values[i]).bits;
  }
  return bits;
}

std::vector<float> HalfProduct(const std::vector<float>& x, int32_t rows, int32_t inputs,
                               const std::vector<uint16_t>& weights, int32_t outputs,
                               int32_t terms) {
  const Halves split = Split(x, rows, inputs, terms);
  DeviceArray<uint16_t> planes(split.planes);
  DeviceArray<float> scales(split.scales);
  DeviceArray<uint16_t> w(weights);
  DeviceArray<float> bias(Normals(3, static_cast<size_t>(outputs)));
  DeviceArray<float> out(static_cast<size_t>(rows) * static_cast<size_t>(outputs));
  EXPECT_EQ(LinearHalf({planes.data(), scales.data(), w.data(), bias.data(), out.data(), rows,
                        outputs, static_cast<int32_t>(HalfRowBytes(inputs)), terms},
                       nullptr),
            0)
      << emulator::LastError();
  return out.Get();
}

TEST(LinearHalf, IsTheProductWithRowsOfAnySize) {
  constexpr int32_t kOutputs = 37;
  for (const int32_t inputs : {32, 50, 1056}) {
    std::vector<float> x = RowsOfAllSizes(inputs);
    // The largest floats would overflow the sum itself.
    for (auto i = static_cast<size_t>(4 * inputs); i < static_cast<size_t>(5 * inputs); ++i) {
      x[i] *= 1e-4F;
    }
    const auto rows = static_cast<int32_t>(x.size()) / inputs;
    const std::vector<uint16_t> weights = HalfWeights(kOutputs, inputs);
    const std::vector<float> bias = Normals(3, kOutputs);
    const auto padded = static_cast<size_t>(HalfRowBytes(inputs) / 2);
    for (const int32_t terms : {1, 3}) {
      const std::vector<float> out = HalfProduct(x, rows, inputs, weights, kOutputs, terms);
      for (int32_t row = 0; row < rows; ++row) {
        for (int32_t o = 0; o < kOutputs; ++o) {
          double sum = 0;
          double sizes = 0;
          for (int32_t k = 0; k < inputs; ++k) {
            const double product =
                double{x[static_cast<size_t>(row * inputs + k)]} *
                ToFloat(Half{weights[static_cast<size_t>(o) * padded + static_cast<size_t>(k)]});
            sum += product;
            sizes += std::abs(product);
          }
          const float b = bias[static_cast<size_t>(o)];
          EXPECT_NEAR(out[static_cast<size_t>(row * kOutputs + o)], sum + b,
                      sizes * (terms == 1 ? 6e-4 : 2e-6) + fabsf(b) * 1e-6F)
              << inputs << " " << terms << " " << row << " " << o;
        }
      }
    }
  }
}

TEST(LinearHalf, ARowIsTheSameBitsHoweverManyThereAre) {
  constexpr int32_t kInputs = 352;
  constexpr int32_t kOutputs = 40;
  const std::vector<float> x = Normals(7, 64 * kInputs);
  const std::vector<uint16_t> weights = HalfWeights(kOutputs, kInputs);
  const std::vector<float> all = HalfProduct(x, 64, kInputs, weights, kOutputs, 3);
  for (const int32_t rows : {1, 8, 9, 17, 33}) {
    emulator::SetSeed(static_cast<uint64_t>(rows));
    const std::vector<float> some(x.begin(), x.begin() + rows * kInputs);
    const std::vector<float> out = HalfProduct(some, rows, kInputs, weights, kOutputs, 3);
    EXPECT_EQ(std::memcmp(out.data(), all.data(), out.size() * sizeof(float)), 0) << rows;
  }
}

// What the library's products are followed by ends as our own product does.
TEST(LinearHalf, ScaledSumsAreTheProduct) {
  constexpr int32_t kRows = 3;
  constexpr int32_t kOutputs = 700;
  const std::vector<float> sums = Normals(8, kRows * kOutputs);
  DeviceArray<float> out(sums);
  DeviceArray<float> scales(std::vector<float>{0.25F, 1.0F, 1024.0F});
  DeviceArray<float> bias(Normals(3, kOutputs));
  LinearHalfParams params;
  params.x_scales = scales.data();
  params.bias = bias.data();
  params.out = out.data();
  params.rows = kRows;
  params.outputs = kOutputs;
  ASSERT_EQ(ScaleHalfSums(params, nullptr), 0) << emulator::LastError();
  for (size_t i = 0; i < sums.size(); ++i) {
    EXPECT_EQ(out[i], sums[i] * scales[i / kOutputs] + bias[i % kOutputs]);
  }
}

}  // namespace
}  // namespace inferd::cuda::testing
