// FP8 weights on every instruction set and bf16 unit of this machine and on the emulated
// tiles: each code and each rounding bit for bit, products against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "backends/instruction_sets.h"
#include "backends/ref/ref_ops.h"
#include "backends/unit_ops.h"
#include "cpu/linear_bf16.h"
#include "ops/conformance.h"

namespace inferd {
namespace {

using kernels::Bf16Unit;
using testing::Deviation;
using testing::LinearCase;
using testing::LinearShape;
using testing::OnlyTarget;
using testing::OpCase;
using testing::SameBits;
using testing::UnitOps;
using Rows = std::vector<float>;

// None: rows stay f32 where the weights do not round them.
std::vector<std::optional<Bf16Unit>> Units() {
  std::vector<std::optional<Bf16Unit>> units = {std::nullopt};
  for (const Bf16Unit unit : testing::Bf16Units()) units.emplace_back(unit);
  return units;
}

LinearWeight Pack(Ops& ops, std::vector<uint8_t> codes, int64_t out, WeightFormat format) {
  const auto in = static_cast<int64_t>(codes.size()) / out;
  Rows scales(static_cast<size_t>(out), 1.0F);
  RawLinear raw;
  raw.format = format;
  raw.data = TensorView(codes.data(), DType::kF8E4M3, {out, in});
  raw.scales = TensorView(scales.data(), DType::kF32, {out, 1});
  raw.group_size = static_cast<int32_t>(in);
  return ops.Pack({&raw, 1}, {}).value();
}

// body(ops) on every unit of every instruction set.
template <class Body>
void OnEveryUnit(const Body& body) {
  for (const int64_t target : testing::Targets()) {
    const OnlyTarget only(target);
    for (const std::optional<Bf16Unit> unit : Units()) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + " " +
                   (unit ? kernels::Bf16UnitName(*unit) : "f32"));
      UnitOps ops(unit);
      body(ops);
    }
  }
}

TEST(LinearFp8Test, EveryCodeIsWidenedExactly) {
  std::vector<uint8_t> codes;
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7f) != 0x7f) codes.push_back(static_cast<uint8_t>(bits));
  }
  const auto out = static_cast<int64_t>(codes.size());
  OnEveryUnit([&](UnitOps& ops) {
    const LinearWeight weight = Pack(*ops, codes, out, WeightFormat::kFp8Weights);
    const Rows values = ops.Linear(weight, {1.0F});
    for (int64_t i = 0; i < out; ++i) {
      ASSERT_EQ(values[static_cast<size_t>(i)], E4M3ToF32(codes[static_cast<size_t>(i)])) << i;
    }
  });
}

// One output per input, so that each rounded input is seen; 448 makes the factor one.
TEST(LinearFp8Test, RowsAreRoundedToNearestEven) {
  constexpr int64_t kIn = 130;
  std::vector<uint8_t> identity(kIn * kIn, 0);
  for (int64_t i = 0; i < kIn; ++i) identity[static_cast<size_t>(i * kIn + i)] = F32ToE4M3(1.0F);
  Rows x(kIn, kE4M3Max);
  for (int bits = 0; bits < 126; ++bits) {
    const float value = E4M3ToF32(static_cast<uint8_t>(bits));
    const float tie = (value + E4M3ToF32(static_cast<uint8_t>(bits + 1))) / 2;
    x[static_cast<size_t>(bits)] = bits % 3 == 0   ? -tie
                                   : bits % 3 == 1 ? std::nextafter(tie, 0.0F)
                                                   : tie;
  }
  OnEveryUnit([&](UnitOps& ops) {
    const LinearWeight weight = Pack(*ops, identity, kIn, WeightFormat::kFp8);
    const Rows rounded = ops.Linear(weight, x);
    for (size_t i = 0; i < kIn; ++i) {
      ASSERT_EQ(rounded[i], E4M3ToF32(F32ToE4M3(x[i]))) << i << " of " << x[i];
    }
  });
}

TEST(LinearFp8Test, EveryUnitAgreesWithTheReference) {
  std::vector<OpCase> cases;
  for (const WeightFormat format : {WeightFormat::kFp8, WeightFormat::kFp8Weights}) {
    for (const int64_t rows : {1, 2, 12, 13, 16, 17, 33, 97, 113}) {
      cases.push_back(LinearCase({rows, 161, 143, format, 1, true}));
      cases.push_back(LinearCase({rows, 288, 130, format, 2, true, 96}));
    }
  }
  for (const std::optional<Bf16Unit> unit : Units()) {
    SCOPED_TRACE(unit ? kernels::Bf16UnitName(*unit) : "f32");
    RefOps reference(/*round_rows=*/unit.has_value());
    UnitOps ops(unit);
    for (const OpCase& c : cases) {
      SCOPED_TRACE(c.name);
      const auto expected = c.prepare(reference);
      const auto actual = c.prepare(*ops);
      const Rows values = testing::RunOnce(*actual);
      EXPECT_LE(Deviation(values, testing::RunOnce(*expected)), c.tolerance);
    }
  }
}

TEST(LinearFp8Test, RowsStandAloneOnEveryUnit) {
  OnEveryUnit([](UnitOps& ops) {
    for (const LinearShape& shape : {LinearShape{1, 140, 70, WeightFormat::kFp8, 1, true},
                                     LinearShape{1, 192, 200, WeightFormat::kFp8, 1, false, 64}}) {
      const LinearWeight weight = testing::PackLinear(shape, *ops).value();
      constexpr int64_t kRows = 110;
      const Rows x = testing::Normal(5, kRows * shape.in);
      const Rows together = ops.Linear(weight, x);
      for (int64_t first = 0; first < kRows;) {
        const int64_t count = std::min<int64_t>(first % 19 + 1, kRows - first);
        const Rows part = ops.Linear(
            weight, Rows(x.begin() + first * shape.in, x.begin() + (first + count) * shape.in));
        ASSERT_TRUE(SameBits(part, Rows(together.begin() + first * shape.out,
                                        together.begin() + (first + count) * shape.out)))
            << count << " rows from " << first;
        first += count;
      }
    }
  });
}

// A file of kept weights may lie about sizes.
TEST(LinearFp8Test, AcceptsOnlyBytesOfTheRightSizes) {
  UnitOps ops(std::nullopt);
  LinearWeight weight =
      testing::PackLinear({1, 192, 70, WeightFormat::kFp8, 1, true, 64}, *ops).value();
  EXPECT_TRUE((*ops).Accepts(weight));
  for (const int32_t group : {0, 16, 32, 48, 128, 192, -64}) {
    weight.group_size = group;
    EXPECT_FALSE((*ops).Accepts(weight)) << group;
  }
  weight.group_size = 64;
  weight.in_features = 256;
  EXPECT_FALSE((*ops).Accepts(weight));
}

}  // namespace
}  // namespace inferd
