// The integer product on every instruction set and dot unit of this machine, bit
// for bit against the same steps one at a time.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>

#include "backends/cpu/cpu_ops.h"
#include "backends/instruction_sets.h"
#include "cpu/common.h"
#include "cpu/linear_int.h"
#include "cpu/tile_unit.h"
#include "ops/cases.h"

namespace inferd::kernels {
namespace {

using inferd::testing::GuardedRows;
using inferd::testing::OnlyTarget;

struct Target {
  int64_t target;
  DotUnit unit;
};

// Every instruction set that leads to kernels of its own, with each dot unit it has.
std::vector<Target> Targets() {
  std::vector<Target> targets;
  for (const int64_t target : inferd::testing::Targets()) {
    const OnlyTarget only(target);
    targets.push_back({target, DotUnit::kWiden});
    if (BestDotUnit() != DotUnit::kWiden) targets.push_back({target, BestDotUnit()});
  }
  return targets;
}

struct Matrix {
  IntLayout layout;
  int64_t out = 0;
  std::vector<int32_t> values;  // [out, in], zero points not taken off
  std::vector<uint8_t> zeros;   // [out, groups]
  std::vector<float> scales;
  std::vector<float> bias;
  std::vector<std::byte> packed;
};

// Values at both ends of their range now and then.
Matrix MakeMatrix(const IntLayout& layout, int64_t out) {
  std::mt19937 random(static_cast<uint32_t>(out + layout.group_size));
  Matrix m{layout, out, {}, {}, {}, {}, {}};
  const int64_t in = layout.in_features;
  const int64_t groups = in / layout.group_size;
  const int32_t top = layout.bits == 4 ? 15 : 255;
  for (int64_t i = 0; i < out * in; ++i) {
    const auto pick = static_cast<int32_t>(random() % 8);
    m.values.push_back(pick == 0 ? 0 : pick == 1 ? top : static_cast<int32_t>(random()) & top);
  }
  for (int64_t i = 0; i < out * groups; ++i) {
    m.zeros.push_back(layout.zero == kZeroPerGroup ? random() % 16
                                                   : static_cast<uint8_t>(layout.zero));
    const auto scale = (static_cast<float>(random() % 2047) - 1023.0F) * 0x1p-14F;
    m.scales.push_back(layout.half_scales ? scale : scale * 1.2345F);
  }
  m.bias = inferd::testing::Normal(5, out);
  std::vector<std::byte> checkpoint;
  if (layout.bits == 4) {
    for (size_t i = 0; i < m.values.size(); i += 2) {
      checkpoint.push_back(static_cast<std::byte>(m.values[i] | (m.values[i + 1] << 4)));
    }
  } else {
    for (const int32_t v : m.values) checkpoint.push_back(static_cast<std::byte>(v - kInt8Zero));
  }
  const int64_t panels = (out + kIntPanelWidth - 1) / kIntPanelWidth;
  m.packed.resize(static_cast<size_t>(panels * IntPanelBytes(layout)), std::byte{0xee});
  for (int64_t panel = 0; panel < panels; ++panel) {
    IntRow rows[kIntPanelWidth];
    const int64_t first = panel * kIntPanelWidth;
    const int64_t count = std::min(kIntPanelWidth, out - first);
    for (int64_t j = 0; j < count; ++j) {
      rows[j] = {checkpoint.data() + (first + j) * in * layout.bits / 8,
                 m.scales.data() + (first + j) * groups, m.zeros.data() + (first + j) * groups};
    }
    PackIntPanel(layout, rows, count, m.packed.data() + panel * IntPanelBytes(layout));
  }
  return m;
}

// One output as the kernel promises it: exact sums, then f32 in the order of groups.
float Expected(const Matrix& m, const float* x, int64_t output) {
  const int64_t in = m.layout.in_features;
  const int64_t size = m.layout.group_size;
  float sum = 0;
  for (int64_t g = 0; g < in / size; ++g) {
    float max = 0;
    for (int64_t k = 0; k < size; ++k) max = std::max(max, std::abs(x[g * size + k]));
    const float factor = max > 0 ? 127.0F / max : 0;
    int64_t products = 0;
    for (int64_t k = 0; k < size; ++k) {
      const auto q = static_cast<int64_t>(std::nearbyint(x[g * size + k] * factor));
      products += q * (m.values[output * in + g * size + k] - m.zeros[output * (in / size) + g]);
    }
    const float scaled = static_cast<float>(products) * m.scales[output * (in / size) + g];
    sum = std::fma(scaled, max / 127.0F, sum);
  }
  return sum + m.bias[output];
}

std::vector<float> Product(const Matrix& m, DotUnit unit, const std::vector<float>& x, int64_t rows,
                           int64_t tile_rows) {
  const int64_t in = m.layout.in_features;
  const int64_t groups = in / m.layout.group_size;
  std::vector<int8_t> q(static_cast<size_t>(rows * ((in + 3) / 4 * 4)), int8_t{99});
  std::vector<RowScale> scales(static_cast<size_t>(rows * groups));
  const int32_t zero = m.layout.zero == kZeroPerGroup ? 1 : m.layout.zero;
  QuantizeRows({x.data(), rows, in, m.layout.group_size, zero, tile_rows, q.data(), scales.data()},
               0, rows);
  GuardedRows out(rows, m.out);
  out.Poison();
  const LinearIntParams p{
      unit, m.layout,  m.packed.data(),       m.out, m.bias.data(), q.data(), scales.data(),
      rows, tile_rows, out.view().As<float>()};
  const int64_t panels = (m.out + kIntPanelWidth - 1) / kIntPanelWidth;
  LinearInt(p, 0, panels / 2);
  LinearInt(p, panels / 2, panels);
  EXPECT_TRUE(out.GuardsIntact());
  return out.Get();
}

// By tiles of AMX, of the processor or emulated.
std::vector<float> TileProduct(const Matrix& m, const std::vector<float>& x, int64_t rows,
                               bool emulated) {
  const int64_t in = m.layout.in_features;
  const int64_t group = m.layout.group_size;
  std::vector<int8_t> q(static_cast<size_t>(rows * QuantizedRowBytes(in, /*wide=*/true)), 99);
  std::vector<RowScale> scales(static_cast<size_t>(rows * (in / group)));
  const int32_t zero = m.layout.zero == kZeroPerGroup ? 1 : m.layout.zero;
  QuantizeRows(
      {x.data(), rows, in, group, zero, kIntTileRows, q.data(), scales.data(), /*wide=*/true}, 0,
      rows);
  GuardedRows out(rows, m.out);
  out.Poison();
  const LinearIntParams p{DotUnit::kWiden, m.layout,
                          m.packed.data(), m.out,
                          m.bias.data(),   q.data(),
                          scales.data(),   rows,
                          kIntTileRows,    out.view().As<float>()};
  const int64_t panels = (m.out + kIntPanelWidth - 1) / kIntPanelWidth;
  const auto multiply = m.layout.bits == 4 ? LinearInt4Tiles : LinearIntTiles;
  multiply(p, emulated, 0, panels / 2);
  multiply(p, emulated, panels / 2, panels);
  EXPECT_TRUE(out.GuardsIntact());
  return out.Get();
}

void ExpectExact(const IntLayout& layout, int64_t out) {
  const Matrix m = MakeMatrix(layout, out);
  constexpr int64_t kMostRows = 35;
  auto x = inferd::testing::Normal(9, kMostRows * layout.in_features);
  // A row of one magnitude: every q is at the end of its range.
  for (int64_t k = 0; k < layout.in_features; ++k) x[k] = k % 3 == 0 ? -2.5F : 2.5F;
  std::vector<float> expected;
  for (int64_t r = 0; r < kMostRows; ++r) {
    for (int64_t j = 0; j < out; ++j) {
      expected.push_back(Expected(m, x.data() + r * layout.in_features, j));
    }
  }
  const auto expect_tiles = [&](int64_t rows) {
    for (const bool emulated : {true, false}) {
      if (!emulated && !AmxInt8Runs()) continue;
      const auto actual = TileProduct(m, x, rows, emulated);
      for (size_t i = 0; i < actual.size(); ++i) {
        ASSERT_EQ(actual[i], expected[i]) << rows << " rows in " << (emulated ? "emulated " : "")
                                          << "AMX tiles, row " << i / out << ", output " << i % out;
      }
    }
  };
  for (int64_t rows = 1; layout.bits == 8 && rows <= kMostRows; ++rows) expect_tiles(rows);
  for (const Target& target : Targets()) {
    const OnlyTarget only(target.target);
    SCOPED_TRACE(std::string(hwy::TargetName(target.target)) + " " + DotUnitName(target.unit));
    // Of 4 bits what is around the tiles is vectors.
    for (const int64_t rows : {1, 15, 16, 17, 31, 32, 35}) {
      if (layout.bits == 4) expect_tiles(rows);
    }
    for (int64_t tile_rows = 1; tile_rows <= LinearIntMaxTileRows(target.unit); ++tile_rows) {
      for (const int64_t rows : {tile_rows, int64_t{2 * tile_rows + 3}}) {
        const auto actual = Product(m, target.unit, x, rows, tile_rows);
        for (size_t i = 0; i < actual.size(); ++i) {
          ASSERT_EQ(actual[i], expected[i]) << rows << " rows in tiles of " << tile_rows << ", row "
                                            << i / out << ", output " << i % out;
        }
      }
    }
  }
}

TEST(LinearIntTest, EightBitsAreExactOnEveryUnit) {
  for (const int64_t in : {1, 4, 7, 64, 257, 1000}) {
    for (const int64_t out : {1, 16, 100}) {
      SCOPED_TRACE(std::to_string(in) + " inputs, " + std::to_string(out) + " outputs");
      ExpectExact({8, in, in, false, kInt8Zero}, out);
    }
  }
}

// The whole op, with rows that are not finite, rows enough for the tiles and too few,
// and scratch memory that does not hold all of them.
void ExpectTilesChangeNothing(const inferd::testing::LinearShape& shape) {
  const SystemClock clock;
  std::vector<std::vector<float>> results;
  for (const IntTiles tiles : {IntTiles::kNone, IntTiles::kEmulated, IntTiles::kAmx}) {
    if (tiles == IntTiles::kAmx && !AmxInt8Runs()) continue;
    CpuOps ops({2, {}}, clock, std::nullopt, tiles);
    const auto weight = inferd::testing::PackLinear(shape, ops).value();
    const int64_t bytes = 24 * IntLinearRowBytes(shape.in);
    const Buffer scratch = Buffer::Create(ops.allocator(), static_cast<size_t>(bytes)).value();
    ops.SetScratch({scratch.data(), DType::kU8, {bytes}});
    std::vector<float>& all = results.emplace_back();
    for (const int64_t rows : {1, 7, 8, 16, 33, 70}) {
      auto x = inferd::testing::Normal(3, rows * shape.in);
      x[static_cast<size_t>(rows / 2 * shape.in + 5)] = NAN;
      std::vector<float> out(static_cast<size_t>(rows * shape.out));
      ops.Linear({x.data(), DType::kF32, {rows, shape.in}}, weight,
                 {out.data(), DType::kF32, {rows, shape.out}});
      all.insert(all.end(), out.begin(), out.end());
    }
  }
  for (size_t tiles = 1; tiles < results.size(); ++tiles) {
    ASSERT_EQ(results[0].size(), results[tiles].size());
    for (size_t i = 0; i < results[0].size(); ++i) {
      if (std::isnan(results[0][i]) && std::isnan(results[tiles][i])) continue;
      ASSERT_EQ(results[0][i], results[tiles][i])
          << shape.in << " inputs, " << i << (tiles == 1 ? ", emulated" : "");
    }
  }
}

TEST(LinearIntTest, TilesChangeNoBitOfTheOp) {
  for (const int64_t in : {64, 301}) {
    ExpectTilesChangeNothing({1, in, 70, WeightFormat::kInt8, 1, true});
  }
  for (const int32_t group : {32, 96, 192}) {
    ExpectTilesChangeNothing({1, 192, 70, WeightFormat::kInt4, 1, true, group});
    ExpectTilesChangeNothing({1, 192, 70, WeightFormat::kInt4, 1, false, group, false, false});
  }
  // Longer than tiles take.
  ExpectTilesChangeNothing({1, 2048, 20, WeightFormat::kInt4, 1, true, 2048});
}

TEST(EmulatedTilesTest, BytesAreSignedByUnsignedAndWrap) {
  EmulatedTiles tiles;
  TileConfig config;
  for (int t = 0; t < 8; ++t) {
    config.rows[t] = t == 6 ? 16 : 2;
    config.row_bytes[t] = 64;
  }
  tiles.Configure(config);
  alignas(64) int8_t a[2][64] = {};
  alignas(64) uint8_t b[16][64] = {};
  alignas(64) int32_t c[2][16] = {};
  a[0][0] = -128;
  a[0][5] = 127;  // second quad, second of it
  b[0][0] = 255;
  b[1][1] = 255;
  c[0][0] = 7;
  c[1][0] = 9;
  a[1][0] = 1;
  c[1][0] = std::numeric_limits<int32_t>::max();
  tiles.Load<0>(c, 64);
  tiles.Load<4>(a, 64);
  tiles.Load<6>(b, 64);
  tiles.DotS8U8<0, 4, 6>();
  tiles.Store<0>(c, 64);
  EXPECT_EQ(c[0][0], 7 - 128 * 255 + 127 * 255);
  EXPECT_EQ(c[0][1], 0);
  EXPECT_EQ(c[1][0], std::numeric_limits<int32_t>::min() + 254);
}

TEST(LinearIntTest, FourBitsAreExactOnEveryUnit) {
  for (const int64_t group : {32, 96, 128}) {
    for (const bool half : {false, true}) {
      for (const int32_t zero : {0, 8, 15, kZeroPerGroup}) {
        SCOPED_TRACE(std::to_string(group) + " a group, zero " + std::to_string(zero) +
                     (half ? ", f16" : ", f32"));
        ExpectExact({4, 3 * group, group, half, zero}, 100);
      }
    }
  }
}

// Groups that begin and end within a tile, more of them than are unpacked at a time, and the
// longest that tiles take.
TEST(LinearIntTest, FourBitsInTilesAreExactWhereverGroupsLie) {
  const auto expect = [](int64_t group, int64_t groups) {
    const IntLayout layout{4, groups * group, group, true, kZeroPerGroup};
    ASSERT_TRUE(TilesTake(layout));
    const Matrix m = MakeMatrix(layout, 37);
    const auto x = inferd::testing::Normal(9, 18 * layout.in_features);
    for (const bool emulated : {true, false}) {
      if (!emulated && !AmxInt8Runs()) continue;
      const auto actual = TileProduct(m, x, 18, emulated);
      for (int64_t r = 0; r < 18; ++r) {
        for (int64_t j = 0; j < 37; ++j) {
          ASSERT_EQ(actual[static_cast<size_t>(r * 37 + j)],
                    Expected(m, x.data() + r * layout.in_features, j))
              << group << " a group, row " << r << ", output " << j
              << (emulated ? ", emulated" : "");
        }
      }
    }
  };
  for (const Target& target : Targets()) {
    const OnlyTarget only(target.target);
    expect(32, 33);
    expect(64, 40);
    expect(96, 41);
    expect(kInt4TileMostGroup, 3);
  }
  EXPECT_FALSE(TilesTake({4, 4096, kInt4TileMostGroup + 32, true, 8}));
  EXPECT_TRUE(TilesTake({8, 4096, 4096, false, kInt8Zero}));
}

TEST(LinearIntTest, TheLongestRowFitsItsSum) {
  // -128 * 127 times 2^17, which 31 bits just hold.
  constexpr int64_t kIn = int64_t{1} << 17;
  Matrix m{{8, kIn, kIn, false, kInt8Zero}, 1, {}, {128}, {1.0F}, {0.0F}, {}};
  m.values.assign(kIn, 0);
  m.packed.resize(static_cast<size_t>(IntPanelBytes(m.layout)));
  const std::vector<int8_t> checkpoint(kIn, -128);
  const IntRow row{checkpoint.data(), m.scales.data(), nullptr};
  PackIntPanel(m.layout, &row, 1, m.packed.data());
  const std::vector<float> x(kIn, 127.0F);
  for (const Target& target : Targets()) {
    const OnlyTarget only(target.target);
    EXPECT_EQ(Product(m, target.unit, x, 1, 1)[0], -128.0F * 127.0F * static_cast<float>(kIn));
  }
}

TEST(LinearIntTest, ScalesFitF16OnlyExactly) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const float value = F16ToF32(static_cast<uint16_t>(bits));
    ASSERT_EQ(ScalesFitF16(&value, 1), std::isfinite(value)) << bits;
    if (!std::isfinite(value)) continue;
    const float beyond = std::nextafter(value, INFINITY);
    ASSERT_FALSE(ScalesFitF16(&beyond, 1)) << bits;
  }
}

TEST(LinearIntTest, EveryF16ScaleSurvives) {
  // One group of weights 1 above their zero, rows of a single 127: scale * 127.
  IntLayout layout{4, 32, 32, true, 8};
  for (const Target& target : Targets()) {
    const OnlyTarget only(target.target);
    for (uint32_t bits = 0; bits < 0x7c00u; bits += 7) {
      const float scale = F16ToF32(static_cast<uint16_t>(bits));
      const std::vector<std::byte> values(16, std::byte{0x99});
      const uint8_t zero = 8;
      const IntRow row{values.data(), &scale, &zero};
      Matrix m{layout, 1, {}, {8}, {scale}, {0.0F}, {}};
      m.packed.resize(static_cast<size_t>(IntPanelBytes(layout)));
      PackIntPanel(layout, &row, 1, m.packed.data());
      std::vector<float> x(32, 0.0F);
      x[3] = 127;
      ASSERT_EQ(Product(m, target.unit, x, 1, 1)[0], scale * 127.0F) << bits;
    }
  }
}

}  // namespace
}  // namespace inferd::kernels
