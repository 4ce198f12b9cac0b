// Rows rounded to bf16 by bf16 weights, on every unit of this machine and on the
// emulated tiles: against the reference, alone and in company, and at the edges.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "backends/instruction_sets.h"
#include "backends/ref/ref_ops.h"
#include "backends/unit_ops.h"
#include "cpu/linear_bf16.h"
#include "cpu/tile_unit.h"
#include "inferd/backends/backend.h"
#include "ops/conformance.h"

namespace inferd {
namespace {

using kernels::Bf16Unit;
using testing::Bf16Units;
using testing::Deviation;
using testing::LinearCase;
using testing::LinearShape;
using testing::Normal;
using testing::OpCase;
using testing::SameBits;
using testing::UnitOps;
using Rows = std::vector<float>;

constexpr WeightFormat kFormat = WeightFormat::kBF16;

Rows RunOnce(const OpCase& c, Ops& ops) { return testing::RunOnce(*c.prepare(ops)); }

TEST(LinearBf16Test, EveryUnitAgreesWithTheReference) {
  RefOps reference(/*round_rows=*/true);
  std::vector<OpCase> cases;
  for (const OpCase& c : testing::AllCases(16)) {
    if (c.name.rfind("Linear_bf16", 0) == 0) cases.push_back(c);
  }
  // Blocks of inputs, groups of outputs, and what is left of them.
  for (const int64_t rows : {15, 16, 17, 31, 32, 33, 47, 48, 49, 65}) {
    cases.push_back(LinearCase({rows, 35, 49, kFormat, 1, true}));
  }
  cases.push_back(LinearCase({49, 1057, 289, kFormat, 1, true}));
  cases.push_back(LinearCase({33, 1024, 273, kFormat}));
  ASSERT_GE(cases.size(), 30U);
  std::vector<Rows> expected;
  for (const OpCase& c : cases) expected.push_back(RunOnce(c, reference));
  for (const Bf16Unit unit : Bf16Units()) {
    UnitOps ops(unit);
    double worst = 0;
    for (size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(std::string(kernels::Bf16UnitName(unit)) + " " + cases[i].name);
      const Rows actual = RunOnce(cases[i], *ops);
      ASSERT_EQ(actual.size(), expected[i].size());
      const double deviation = Deviation(actual, expected[i]);
      // The chain over the inputs is in f32 here as well; VDPBF16PS rounds once or
      // twice per pair, tiles once more per 32 inputs.
      EXPECT_LE(deviation, cases[i].tolerance);
      worst = std::max(worst, deviation / cases[i].tolerance);
    }
    std::printf("    %s: %zu cases, worst at %.2f of its tolerance\n", kernels::Bf16UnitName(unit),
                cases.size(), worst);
  }
}

TEST(LinearBf16Test, RoundingIsSeen) {
  // Else the test above would compare two backends that ignore the option.
  const OpCase c = LinearCase({3, 100, 70, kFormat});
  RefOps exact;
  RefOps rounding(/*round_rows=*/true);
  const double deviation = Deviation(RunOnce(c, rounding), RunOnce(c, exact));
  EXPECT_GT(deviation, 100 * c.tolerance);
  EXPECT_LT(deviation, 0.02);
}

TEST(LinearBf16Test, EveryInstructionSetAgrees) {
  RefOps reference(/*round_rows=*/true);
  for (const int64_t target : testing::Targets()) {
    const testing::OnlyTarget only(target);
    for (const Bf16Unit unit : Bf16Units()) {
      UnitOps ops(unit);
      for (const OpCase& c : {LinearCase({27, 611, 49, kFormat, 1, true}),
                              LinearCase({1, 100, 70, kFormat, 2, true})}) {
        SCOPED_TRACE(std::string(kernels::TargetName()) + " " + kernels::Bf16UnitName(unit));
        EXPECT_LE(Deviation(RunOnce(c, *ops), RunOnce(c, reference)), c.tolerance);
      }
    }
  }
}

TEST(LinearBf16Test, ARowHasTheSameBitsAloneAndInCompany) {
  constexpr int64_t kRows = 64;
  for (const Bf16Unit unit : Bf16Units()) {
    UnitOps ops(unit);
    for (const LinearShape& s :
         {LinearShape{1, 33, 70, kFormat, 1, true}, LinearShape{1, 288, 100, kFormat},
          LinearShape{1, 1101, 161, kFormat, 1, true}}) {
      SCOPED_TRACE(std::string(kernels::Bf16UnitName(unit)) + " " + LinearCase(s).name);
      auto weight = testing::PackLinear(s, *ops);
      ASSERT_TRUE(weight.ok());
      const Rows x = Normal(5, kRows * s.in);
      const Rows together = ops.Linear(*weight, x);
      for (const int64_t count : {1, 2, 3, 5, 7, 8, 12, 13, 16, 17, 24, 31, 32, 33, 48, 63}) {
        for (int64_t first = 0; first < kRows; first += count) {
          const int64_t end = std::min(first + count, kRows);
          const Rows part = ops.Linear(*weight, {x.begin() + first * s.in, x.begin() + end * s.in});
          ASSERT_TRUE(
              SameBits(part, {together.begin() + first * s.out, together.begin() + end * s.out}))
              << count << " rows from " << first;
        }
      }
      UnitOps alone(unit, /*threads=*/1);
      EXPECT_TRUE(SameBits(alone.Linear(*weight, x), together)) << "one thread";
      // Scratch for five rows at a time.
      auto little = Buffer::Create((*ops).allocator(), 5 * kernels::PackedBf16RowBytes(unit, s.in));
      ASSERT_TRUE(little.ok());
      (*alone).SetScratch({little->data(), DType::kU8, {static_cast<int64_t>(little->size())}});
      EXPECT_TRUE(SameBits(alone.Linear(*weight, x), together)) << "little scratch";
    }
  }
}

TEST(LinearBf16Test, RowsAreRoundedToNearestEven) {
  Rows x = Normal(3, 515);
  const std::vector<uint32_t> bits = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0xbf808000,
                                      0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xffffffff,
                                      0x00000001, 0x80008000, 0x00800000, 0x00000000, 0x80000000};
  for (size_t i = 0; i < bits.size(); ++i) x[i * 7] = std::bit_cast<float>(bits[i]);
  constexpr int64_t kRows = 5;
  constexpr int64_t kIn = 103;
  for (const Bf16Unit unit : {Bf16Unit::kWiden, Bf16Unit::kPairs, Bf16Unit::kTiles}) {
    constexpr int64_t kTileRows = 3;
    alignas(64) static std::byte packed[kRows * 128 * 4];
    kernels::PackBf16Rows({unit, x.data(), kRows, kIn, kTileRows, packed}, 0, 2);
    const auto at = [&](int64_t row, int64_t k) {
      const int64_t rows = row < 3 ? 3 : 2;
      const int64_t m = row % 3;
      const std::byte* tile = packed + row / 3 * 3 * kernels::PackedBf16RowBytes(unit, kIn);
      const int64_t offset = unit == Bf16Unit::kWiden   ? (k * rows + m) * 4 + 2
                             : unit == Bf16Unit::kPairs ? (k / 2 * rows + m) * 4 + k % 2 * 2
                                                        : (k / 32 * rows + m) * 64 + k % 32 * 2;
      uint16_t value = 0;
      std::memcpy(&value, tile + offset, sizeof(value));
      return value;
    };
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t k = 0; k < kIn; ++k) {
        const float value = x[row * kIn + k];
        if (std::isnan(value)) {
          EXPECT_TRUE(std::isnan(BF16ToF32(at(row, k))));
        } else {
          ASSERT_EQ(at(row, k), F32ToBF16(value)) << row << " " << k;
        }
      }
      for (int64_t k = kIn;
           unit != Bf16Unit::kWiden && k < kernels::RoundUp(kIn, unit == Bf16Unit::kPairs ? 2 : 32);
           ++k) {
        EXPECT_EQ(at(row, k), 0);
      }
    }
  }
}

TEST(LinearBf16Test, ARowThatIsNotFiniteSpoilsNoOther) {
  constexpr int64_t kRows = 5;
  const LinearShape s{1, 101, 70, kFormat, 1, true};
  for (const Bf16Unit unit : Bf16Units()) {
    SCOPED_TRACE(kernels::Bf16UnitName(unit));
    UnitOps ops(unit);
    auto weight = testing::PackLinear(s, *ops);
    ASSERT_TRUE(weight.ok());
    Rows x = Normal(6, kRows * s.in);
    const Rows before = ops.Linear(*weight, x);
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      Rows spoilt = x;
      spoilt[2 * s.in + 50] = bad;
      const Rows after = ops.Linear(*weight, spoilt);
      for (int64_t i = 0; i < kRows * s.out; ++i) {
        if (i / s.out == 2) {
          ASSERT_FALSE(std::isfinite(after[i])) << "output " << i % s.out;
        } else {
          ASSERT_EQ(after[i], before[i]);
        }
      }
    }
  }
}

TEST(LinearBf16Test, TheOptionChoosesAndIsNamed) {
  const auto description = [](Activations activations) {
    BackendOptions options;
    options.threads = 1;
    options.activations = activations;
    auto backend = CreateBackend("cpu", options);
    return backend.ok() ? (*backend)->Description() : backend.status().ToString();
  };
  EXPECT_EQ(description(Activations::kF32).find("bf16"), std::string::npos);
  const Bf16Unit best = kernels::BestBf16Unit(/*tiles=*/true);
  EXPECT_TRUE(kernels::Bf16UnitRuns(best));
  EXPECT_NE(kernels::BestBf16Unit(/*tiles=*/false), Bf16Unit::kTiles);
  const std::string by = std::string("bf16 by ") + kernels::Bf16UnitName(best);
  EXPECT_NE(description(Activations::kBF16).find(by), std::string::npos);
  EXPECT_EQ(description(Activations::kAuto).find(by) != std::string::npos,
            best != Bf16Unit::kWiden);
  EXPECT_EQ(BackendOptions{}.activations, Activations::kF32);

  const OpCase c = LinearCase({3, 100, 70, kFormat});
  RefOps rounding(/*round_rows=*/true);
  RefOps exact;
  for (const char* name : {"cpu", "ref"}) {
    BackendOptions options;
    options.activations = Activations::kBF16;
    auto backend = CreateBackend(name, options);
    ASSERT_TRUE(backend.ok());
    EXPECT_LE(Deviation(RunOnce(c, (*backend)->ops()), RunOnce(c, rounding)), c.tolerance) << name;
    options.activations = Activations::kF32;
    backend = CreateBackend(name, options);
    ASSERT_TRUE(backend.ok());
    EXPECT_LE(Deviation(RunOnce(c, (*backend)->ops()), RunOnce(c, exact)), c.tolerance) << name;
  }
}

// ---- the emulated tiles ----

kernels::TileConfig Config(uint8_t rows, uint16_t row_bytes) {
  kernels::TileConfig config;
  for (int t = 0; t < 8; ++t) {
    config.rows[t] = rows;
    config.row_bytes[t] = row_bytes;
  }
  return config;
}

TEST(EmulatedTilesTest, TheOperandOfTheConfigurationIsLaidOutAsTheManualSays) {
  kernels::TileConfig config = Config(0, 0);
  config.rows[2] = 7;
  config.row_bytes[2] = 0x123;
  const auto bytes = std::bit_cast<std::array<uint8_t, 64>>(config);
  EXPECT_EQ(bytes[0], 1);
  EXPECT_EQ(bytes[16 + 2 * 2], 0x23);
  EXPECT_EQ(bytes[17 + 2 * 2], 0x01);
  EXPECT_EQ(bytes[48 + 2], 7);
}

TEST(EmulatedTilesTest, LoadAndStoreMoveConfiguredRowsOnly) {
  kernels::EmulatedTiles tiles;
  tiles.Configure(Config(3, 8));
  std::array<uint8_t, 100> from{};
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i + 1);
  std::array<uint8_t, 100> to{};
  tiles.Load<5>(from.data(), 20);
  tiles.Store<5>(to.data(), 30);
  for (size_t i = 0; i < to.size(); ++i) {
    const bool inside = i / 30 < 3 && i % 30 < 8;
    EXPECT_EQ(to[i], inside ? from[i / 30 * 20 + i % 30] : 0) << i;
  }
  tiles.Zero<5>();
  tiles.Store<5>(to.data(), 30);
  EXPECT_EQ(to, (std::array<uint8_t, 100>{}));
}

TEST(EmulatedTilesTest, EvenAndOddInputsAreSummedApartAndDenormalsAreZero) {
  kernels::EmulatedTiles tiles;
  auto config = Config(1, 64);
  config.rows[6] = 16;
  tiles.Configure(config);
  // x[k] w[k]: 2^24 among the even ones, then many ones, which only survive apart.
  std::array<uint16_t, 32> x{};
  std::array<std::array<uint16_t, 32>, 16> w{};
  const uint16_t one = F32ToBF16(1.0F);
  x.fill(one);
  for (auto& row : w) row = {one, one};
  w[0][0] = F32ToBF16(0x1.0p24F);
  // Column 1: products below the least normal number.
  for (auto& row : w) row[2] = row[3] = 0x0080;
  for (auto& row : w) row[4] = 0x0001;
  std::array<float, 16> c{};
  c[0] = 3;
  tiles.Load<0>(c.data(), 64);
  tiles.Load<4>(x.data(), 64);
  tiles.Load<6>(w.data(), 64);
  tiles.DotBF16<0, 4, 6>();
  tiles.Store<0>(c.data(), 64);
  // Even: 2^24 + 15 times 1, each lost; odd: 16; then 3 is added to 2^24 + 16.
  EXPECT_EQ(c[0], 0x1.0p24F + 16 + 4);
  EXPECT_EQ(c[1], 32 * 0x1.0p-126F);
  EXPECT_EQ(c[2], 0);
  EXPECT_EQ(c[3], 0);
}

TEST(EmulatedTilesDeathTest, WhatTheProcessorRefusesEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto configured = [](kernels::TileConfig config) {
    kernels::EmulatedTiles tiles;
    tiles.Configure(config);
    return tiles;
  };
  EXPECT_DEATH(configured(Config(17, 64)), "");
  EXPECT_DEATH(configured(Config(16, 65)), "");
  EXPECT_DEATH(configured(Config(16, 0)), "");
  EXPECT_DEATH(configured(Config(0, 0)).Zero<0>(), "");
  EXPECT_DEATH((configured(Config(16, 32)).DotBF16<0, 4, 6>()), "");
  EXPECT_DEATH((configured(Config(16, 64)).DotBF16<0, 0, 6>()), "");
}

// The documented order, written out for one output.
TEST(EmulatedTilesTest, TheProductAddsSumsOf32InputsInOrder) {
  const LinearShape s{1, 1101, 70, kFormat, 1, true};
  constexpr int64_t kRows = 35;
  // Weights of one matrix, read back through the reference's unpacked form.
  RefOps reference;
  auto plain = testing::PackLinear(s, reference);
  UnitOps ops(Bf16Unit::kEmulatedTiles);
  auto packed = testing::PackLinear(s, *ops);
  ASSERT_TRUE(plain.ok() && packed.ok());
  const Rows x = Normal(21, kRows * s.in);
  const Rows actual = ops.Linear(*packed, x);
  std::vector<uint16_t> weights(static_cast<size_t>(s.in * s.out));
  std::memcpy(weights.data(), plain->packed.data(), weights.size() * 2);
  std::vector<float> bias(static_cast<size_t>(s.out));
  std::memcpy(bias.data(), plain->bias.data(), bias.size() * 4);
  for (int64_t m = 0; m < kRows; ++m) {
    for (int64_t n = 0; n < s.out; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < s.in; k += 32) {
        float parts[2] = {0, 0};
        for (int64_t i = k; i < std::min(k + 32, s.in); ++i) {
          const float a = BF16ToF32(F32ToBF16(x[m * s.in + i]));
          parts[i % 2] = std::fma(a, BF16ToF32(weights[n * s.in + i]), parts[i % 2]);
        }
        sum += parts[0] + parts[1];
      }
      ASSERT_EQ(actual[m * s.out + n], sum + bias[n]) << m << " " << n;
    }
  }
}

}  // namespace
}  // namespace inferd
