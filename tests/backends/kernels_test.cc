// The CPU kernels on every instruction set that they are compiled for and this
// machine has, against the reference; and what they do at the edges.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "backends/instruction_sets.h"
#include "backends/ref/ref_ops.h"
#include "cpu/common.h"
#include "cpu/elementwise.h"
#include "cpu/sample.h"
#include "inferd/backends/backend.h"
#include "ops/conformance.h"

namespace inferd {
namespace {

using testing::OnlyTarget;
using testing::OpCase;
using testing::RunOnce;
using testing::Targets;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

#if defined(__x86_64__)
TEST(KernelsTest, NothingLessThanAvx2IsCompiled) {
  // Asked for emulated vectors, the kernels take the least they have.
  const OnlyTarget only(HWY_SCALAR | HWY_EMU128);
  EXPECT_STREQ(kernels::TargetName(), "AVX2");
}
#endif

TEST(KernelsTest, EveryInstructionSetAgreesWithTheReference) {
  RefOps reference;
  const std::vector<OpCase> cases = {
      testing::LinearCase({1, 100, 70, WeightFormat::kBF16, 2, true}),
      testing::LinearCase({5, 33, 64, WeightFormat::kF32}),
      testing::LinearCase({27, 600, 50, WeightFormat::kBF16, 1, true}),
      testing::AddRmsNormCase(3, 67),
      testing::SiluMulCase(3, 37),
      testing::RopeCase(5, 3, 48, 48),
      testing::EmbedCase(3, 10, 37, DType::kF16),
      testing::AttentionCase({8, 2, 64, 16, DType::kBF16, {{130, 20}, {600, 1}}}),
      testing::AttentionCase({3, 1, 20, 8, DType::kF32, {{50, 50}}}),
  };
  std::vector<std::vector<float>> expected;
  for (const OpCase& c : cases) expected.push_back(RunOnce(*c.prepare(reference)));
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    // Packed layouts belong to an instruction set: a new backend for each.
    auto backend = CreateBackend("cpu", {2, nullptr});
    ASSERT_TRUE(backend.ok());
    SCOPED_TRACE((*backend)->Description());
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto actual = RunOnce(*cases[i].prepare((*backend)->ops()));
      ASSERT_EQ(actual.size(), expected[i].size());
      for (size_t j = 0; j < actual.size(); ++j) {
        ASSERT_NEAR(actual[j], expected[i][j], 2e-5 * (1 + std::abs(expected[i][j])))
            << cases[i].name;
      }
    }
  }
}

TEST(KernelsTest, SiluMulAtTheEnds) {
  const std::vector<float> gate_up = {-kInfinity, -1e4F, -88.5F, 0.0F, 88.5F, 1e4F, NAN,
                                      1.0F,       1.0F,  1.0F,   1.0F, 1.0F,  1.0F, 1.0F};
  std::vector<float> out(7);
  kernels::SiluMul({gate_up.data(), out.data(), 7}, 0, 1);
  EXPECT_TRUE(std::isnan(out[0]));  // -inf / inf
  EXPECT_EQ(out[1], 0.0F);
  EXPECT_NEAR(out[2], 0.0F, 1e-36F);
  EXPECT_EQ(out[3], 0.0F);
  EXPECT_EQ(out[4], 88.5F);
  EXPECT_EQ(out[5], 1e4F);
  EXPECT_TRUE(std::isnan(out[6]));
}

TEST(KernelsTest, ScanFindsValuesWhereverTheyStand) {
  for (const int64_t n : {1, 3, 16, 17, 33, 64, 100}) {
    for (int64_t i = 0; i < n; ++i) {
      std::vector<float> x(static_cast<size_t>(n), -kInfinity);
      EXPECT_EQ(kernels::ScanRow(x.data(), n).max, -kInfinity);
      EXPECT_TRUE(kernels::ScanRow(x.data(), n).valid);
      x[i] = 3;
      EXPECT_EQ(kernels::ScanRow(x.data(), n).max, 3);
      EXPECT_EQ(kernels::FindFirst(x.data(), n, 3), i);
      EXPECT_EQ(kernels::FindFirst(x.data(), n, 4), n);
      x[i] = NAN;
      EXPECT_FALSE(kernels::ScanRow(x.data(), n).valid);
      x[i] = kInfinity;
      EXPECT_FALSE(kernels::ScanRow(x.data(), n).valid);
    }
  }
}

TEST(KernelsTest, CollectKeepsTheOrderAndTheBorder) {
  const auto x = testing::Normal(3, 1000);
  std::vector<int32_t> ids(1000);
  for (const float threshold : {-kInfinity, -1.0F, x[500], 10.0F}) {
    const int64_t count = kernels::CollectAtLeast(x.data(), 7, 993, threshold, ids.data());
    std::vector<int32_t> expected;
    for (int32_t i = 7; i < 993; ++i) {
      if (x[i] >= threshold) expected.push_back(i);
    }
    EXPECT_EQ(std::vector<int32_t>(ids.begin(), ids.begin() + count), expected);
  }
}

TEST(KernelsTest, SumExpStaysWithinItsError) {
  for (const int64_t n : {1, 15, 16, 1000, 32003}) {
    for (const float deviation : {0.001F, 1.0F, 10.0F}) {
      auto x = testing::Normal(9, n, deviation);
      if (n > 2) x[1] = -kInfinity;
      for (const float scale : {0.1F, 1.0F, 5.0F}) {
        float max = -kInfinity;
        for (const float v : x) max = std::max(max, v);
        double exact = 0;
        for (const float v : x) exact += std::exp((double{v} - max) * scale);
        EXPECT_NEAR(kernels::SumExp(x.data(), n, max, scale) / exact, 1.0,
                    kernels::kSumExpError / 4);
      }
    }
  }
}

}  // namespace
}  // namespace inferd
