// The row kernels in emulation against the formulas in double.
#include "cuda/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

constexpr int kSeeds = 3;

double Tolerance(Element type) { return type == Element::kF32 ? 2e-6 : 4e-3; }

// The values as the type holds them.
std::vector<float> Rounded(Element type, int64_t rows, int64_t columns,
                           const std::vector<float>& values) {
  return DeviceRows(type, rows, columns, values).Get();
}

TEST(Rows, EmbedTakesRowsOfAPartOfTheTable) {
  for (const int64_t columns : {1, 12, 1030}) {
    for (const Element type : {Element::kF32, Element::kBf16, Element::kF16}) {
      const std::vector<float> values = Normals(1, static_cast<size_t>(7 * columns));
      DeviceRows table(type, 7, columns, values);
      DeviceArray<int32_t> ids(std::vector<int32_t>{10, 16, -1, 9, 17, 13});
      DeviceRows out(Element::kF32, 6, columns);
      DeviceArray<int32_t> error(std::vector<int32_t>{0});
      const auto result = RunUnderSeeds(
          kSeeds,
          [&] {
            return Embed(
                {ids.data(), table.view(), 7, 10, 40, out.view(), columns, 6, error.data()},
                nullptr);
          },
          [&] { return out.Get(); });
      EXPECT_EQ(error[0], 0);
      const std::vector<int64_t> rows = {0, 6, -1, -1, -1, 3};
      for (size_t r = 0; r < rows.size(); ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          EXPECT_EQ(result[r * static_cast<size_t>(columns) + static_cast<size_t>(c)],
                    rows[r] < 0 ? 0.0F : table.At(rows[r], c));
        }
      }
      ids[3] = 40;  // outside of the whole table
      EXPECT_EQ(Embed({ids.data(), table.view(), 7, 10, 40, out.view(), columns, 6, error.data()},
                      nullptr),
                0);
      EXPECT_EQ(error[0], 1);
      EXPECT_EQ(out.At(3, 0), 0.0F);
    }
  }
}

TEST(Rows, GatherCopyAndAdd) {
  for (const int64_t columns : {5, 64, 1100}) {
    const auto n = static_cast<size_t>(4 * columns);
    DeviceRows x(Element::kF32, 4, columns, Normals(1, n));
    DeviceRows y(Element::kBf16, 4, columns, Normals(2, n));
    DeviceArray<int32_t> source(std::vector<int32_t>{3, 0});
    DeviceRows out(Element::kF32, 2, columns);
    ASSERT_EQ(GatherRows({source.data(), x.view(), out.view(), columns, 2}, nullptr), 0);
    for (int64_t c = 0; c < columns; ++c) {
      EXPECT_EQ(out.At(0, c), x.At(3, c));
      EXPECT_EQ(out.At(1, c), x.At(0, c));
    }
    DeviceRows wide(Element::kF32, 4, 2 * columns + 8);
    for (const int64_t to : {int64_t{3}, columns}) {
      ASSERT_EQ(CopyColumns({x.view(), wide.view(), 1, to, columns - 1, 4}, nullptr), 0);
      EXPECT_EQ(wide.At(3, to), x.At(3, 1));
      EXPECT_EQ(wide.At(3, to + columns - 2), x.At(3, columns - 1));
      EXPECT_TRUE(std::isnan(wide.At(0, to - 1)) || to == columns);
    }
    std::vector<float> expected = x.Get();
    const std::vector<float> added = y.Get();
    for (size_t i = 0; i < n; ++i) expected[i] += added[i];
    ASSERT_EQ(AddRows({x.view(), y.view(), columns, 4}, nullptr), 0);
    EXPECT_EQ(x.Get(), expected);
  }
}

struct NormCase {
  int64_t columns;
  Element type;
  bool add;
  bool rounded;
};

TEST(Rows, RmsNormAddsNormalisesAndRounds) {
  constexpr int64_t kRows = 3;
  for (const NormCase& c :
       {NormCase{1, Element::kF32, false, false}, NormCase{33, Element::kF32, true, true},
        NormCase{288, Element::kF32, false, true}, NormCase{1028, Element::kBf16, true, true},
        NormCase{8448, Element::kF32, true, true}, NormCase{2051, Element::kBf16, true, false}}) {
    SCOPED_TRACE(c.columns);
    const auto n = static_cast<size_t>(kRows * c.columns);
    const auto columns = static_cast<size_t>(c.columns);
    const std::vector<float> x0 = Normals(1, n);
    const std::vector<float> y0 = Normals(2, n);
    DeviceArray<float> weight(Normals(3, columns));
    const int64_t padded = (c.columns + 63) / 64 * 64;
    DeviceRows out(c.type, kRows, c.columns, padded);
    DeviceArray<int8_t> rounded(static_cast<size_t>(kRows * padded));
    DeviceArray<float> scales(kRows);
    std::vector<float> sums;
    const auto result = RunUnderSeeds(
        kSeeds,
        [&] {
          DeviceRows x(c.type, kRows, c.columns, x0);
          DeviceRows y(c.type, kRows, c.columns, y0);
          NormParams p;
          p.x = x.view();
          if (c.add) p.y = y.view();
          p.weight = weight.data();
          p.out = out.view();
          p.zero_to = padded;
          if (c.rounded) p.rounded = {rounded.data(), scales.data(), padded};
          p.eps = 1e-5F;
          p.columns = c.columns;
          p.num_rows = kRows;
          const int code = RmsNorm(p, nullptr);
          sums = x.Get();
          return code;
        },
        [&] { return out.Get(); });
    // What the norm is taken of, as stored.
    std::vector<float> in = Rounded(c.type, kRows, c.columns, x0);
    if (c.add) {
      const std::vector<float> y = Rounded(c.type, kRows, c.columns, y0);
      for (size_t i = 0; i < n; ++i) in[i] += y[i];
      in = Rounded(c.type, kRows, c.columns, in);
    }
    EXPECT_EQ(sums, in);
    std::vector<double> expected(n);
    for (size_t r = 0; r < kRows; ++r) {
      double squares = 0;
      for (size_t i = 0; i < columns; ++i)
        squares += double{in[r * columns + i]} * in[r * columns + i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5F);
      double largest = 0;
      for (size_t i = 0; i < columns; ++i) {
        double& e = expected[r * columns + i];
        e = in[r * columns + i] * scale * weight[i];
        largest = std::max(largest, std::fabs(e));
      }
      for (int64_t i = c.columns; i < padded; ++i) {
        EXPECT_EQ(out.At(static_cast<int64_t>(r), i), 0.0F);
        if (c.rounded) {
          EXPECT_EQ(rounded[r * static_cast<size_t>(padded) + static_cast<size_t>(i)], 0);
        }
      }
      if (!c.rounded) continue;
      EXPECT_NEAR(scales[r], largest / 127, 1e-6 * largest);
      for (size_t i = 0; i < columns; ++i) {
        // To the nearest, where a last bit may decide otherwise.
        EXPECT_NEAR(rounded[r * static_cast<size_t>(padded) + i],
                    expected[r * columns + i] * 127 / largest, 0.501);
      }
    }
    ExpectNear(result, expected, Tolerance(c.type));
  }
}

TEST(Rows, RmsNormMarksRowsThatAreNotFinite) {
  std::vector<float> values(3 * 40, 1.0F);
  values[45] = NAN;
  for (size_t i = 80; i < 120; ++i) values[i] = 0;
  DeviceRows x(Element::kF32, 3, 40, values);
  DeviceArray<float> weight(std::vector<float>(40, 1.0F));
  DeviceArray<int8_t> rounded(3 * 64);
  DeviceArray<float> scales(3);
  NormParams p;
  p.x = x.view();
  p.weight = weight.data();
  p.rounded = {rounded.data(), scales.data(), 64};
  p.eps = 1e-5F;
  p.columns = 40;
  p.num_rows = 3;
  ASSERT_EQ(RmsNorm(p, nullptr), 0);
  EXPECT_EQ(rounded[39], 127);
  EXPECT_TRUE(std::isnan(scales[1]));
  EXPECT_EQ(rounded[64], 0);
  EXPECT_EQ(scales[2], 0.0F);
}

TEST(Rows, HeadRmsNormTouchesItsHeadsOnly) {
  for (const int32_t head_dim : {5, 64, 80, 256}) {
    const std::vector<float> values = Normals(4, static_cast<size_t>(2 * 6 * head_dim));
    DeviceArray<float> weight(Normals(5, static_cast<size_t>(head_dim)));
    std::vector<float> out;
    RunUnderSeeds(
        kSeeds,
        [&] {
          DeviceRows x(Element::kF32, 2, int64_t{6} * head_dim, values);
          const int code =
              HeadRmsNorm({x.view(), weight.data(), 1e-6F, 1, 4, head_dim, 2}, nullptr);
          out = x.Get();
          return code;
        },
        [&] { return out; });
    std::vector<double> expected(values.begin(), values.end());
    const auto n = static_cast<size_t>(head_dim);
    for (size_t h = 0; h < 12; ++h) {
      if (h % 6 < 1 || h % 6 > 4) continue;
      double squares = 0;
      for (size_t i = 0; i < n; ++i) squares += double{values[h * n + i]} * values[h * n + i];
      for (size_t i = 0; i < n; ++i) {
        expected[h * n + i] *= weight[i] / std::sqrt(squares / static_cast<double>(n) + 1e-6F);
      }
    }
    ExpectNear(out, expected, 2e-6);
  }
}

TEST(Rows, SiluMul) {
  for (const Element type : {Element::kF32, Element::kBf16}) {
    for (const int64_t columns : {1, 37, 1100}) {
      const auto n = static_cast<size_t>(columns);
      std::vector<float> values = Normals(6, 2 * 2 * n, 4.0F);
      if (columns > 1) values[0] = -200.0F;
      values[2 * n] = 200.0F;
      DeviceRows gate_up(type, 2, 2 * columns, values);
      values = gate_up.Get();
      std::vector<double> expected;
      for (size_t r = 0; r < 2; ++r) {
        for (size_t i = 0; i < n; ++i) {
          const double gate = values[r * 2 * n + i];
          expected.push_back(gate / (1 + std::exp(-gate)) * values[r * 2 * n + n + i]);
        }
      }
      const int64_t padded = (columns + 63) / 64 * 64;
      for (const bool round : {false, true}) {
        DeviceRows out(type, 2, columns, padded);
        DeviceArray<int8_t> rounded(static_cast<size_t>(2 * padded));
        DeviceArray<float> scales(2);
        SiluParams p;
        p.gate_up = gate_up.view();
        p.out = out.view();
        p.columns = columns;
        p.num_rows = 2;
        if (round) {
          p.rounded = {rounded.data(), scales.data(), padded};
        } else {
          p.zero_to = padded;
        }
        ExpectNear(RunUnderSeeds(
                       kSeeds, [&] { return SiluMul(p, nullptr); }, [&] { return out.Get(); }),
                   expected, Tolerance(type));
        for (size_t r = 0; r < 2; ++r) {
          double largest = 0;
          for (size_t i = 0; i < n; ++i) {
            largest = std::max(largest, std::fabs(expected[r * n + i]));
          }
          if (!round) {
            if (padded > columns) {
              EXPECT_EQ(out.At(static_cast<int64_t>(r), padded - 1), 0);
            }
            continue;
          }
          EXPECT_NEAR(scales[r], largest / 127, 1e-6 * largest);
          if (padded > columns) {
            EXPECT_EQ(rounded[(r + 1) * static_cast<size_t>(padded) - 1], 0);
          }
          for (size_t i = 0; i < n; ++i) {
            EXPECT_NEAR(rounded[r * static_cast<size_t>(padded) + i],
                        expected[r * n + i] * 127 / largest, 0.501);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace inferd::cuda::testing
