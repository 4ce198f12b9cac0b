// Which processors the cpu backend accepts: each feature taken away in turn.
#include "backends/cpu/cpu_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "backends/cpu/cpu_backend.h"

namespace inferd {
namespace {

using ::testing::HasSubstr;

// A Haswell as CPUID describes it, by the bits that Intel's manual gives.
CpuidRegisters Haswell() {
  CpuidRegisters cpu;
  cpu.leaf1_ecx = (1U << 12) | (1U << 27) | (1U << 28) | (1U << 29);  // FMA OSXSAVE AVX F16C
  cpu.leaf7_ebx = (1U << 3) | (1U << 5) | (1U << 8);                  // BMI1 AVX2 BMI2
  cpu.xcr0 = 0x7;                                                     // x87, XMM, YMM
  return cpu;
}

StatusCode CodeOf(const CpuidRegisters& cpu) {
  return CreateCpuBackend({1, nullptr}, cpu).status().code();
}

TEST(CpuFeaturesTest, TheLeastProcessorIsAccepted) {
  EXPECT_TRUE(CheckCpuFeatures(Haswell()).ok());
  EXPECT_TRUE(CheckCpuFeatures(std::nullopt).ok());  // not an x86 one
}

TEST(CpuFeaturesTest, MoreIsNoHarm) {
  CpuidRegisters cpu;
  cpu.leaf1_ecx = cpu.leaf7_ebx = cpu.xcr0 = ~0U;
  EXPECT_TRUE(CheckCpuFeatures(cpu).ok());
}

struct Missing {
  const char* name;
  uint32_t CpuidRegisters::*word;
  int bit;
};

class MissingFeatureTest : public ::testing::TestWithParam<Missing> {};

TEST_P(MissingFeatureTest, IsNamedAndNothingElseIs) {
  CpuidRegisters cpu = Haswell();
  cpu.*GetParam().word &= ~(1U << GetParam().bit);
  const auto backend = CreateCpuBackend({1, nullptr}, cpu);
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(backend.status().message(),
            "the cpu backend needs AVX, AVX2, FMA, F16C, BMI1, BMI2; this CPU lacks " +
                std::string(GetParam().name) + "; --backend ref runs anywhere, slowly");
}

INSTANTIATE_TEST_SUITE_P(Each, MissingFeatureTest,
                         ::testing::Values(Missing{"AVX", &CpuidRegisters::leaf1_ecx, 28},
                                           Missing{"AVX2", &CpuidRegisters::leaf7_ebx, 5},
                                           Missing{"FMA", &CpuidRegisters::leaf1_ecx, 12},
                                           Missing{"F16C", &CpuidRegisters::leaf1_ecx, 29},
                                           Missing{"BMI1", &CpuidRegisters::leaf7_ebx, 3},
                                           Missing{"BMI2", &CpuidRegisters::leaf7_ebx, 8}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(CpuFeaturesTest, AllThatIsMissingIsNamed) {
  CpuidRegisters sandy_bridge;
  sandy_bridge.leaf1_ecx = (1U << 27) | (1U << 28);
  sandy_bridge.xcr0 = 0x7;
  EXPECT_THAT(CheckCpuFeatures(sandy_bridge).message(),
              HasSubstr("lacks AVX2, FMA, F16C, BMI1, BMI2;"));
  EXPECT_THAT(CheckCpuFeatures(CpuidRegisters()).message(),
              HasSubstr("lacks AVX, AVX2, FMA, F16C, BMI1, BMI2;"));
}

TEST(CpuFeaturesTest, TheOperatingSystemMustSaveTheRegisters) {
  for (const uint32_t xcr0 : {0x0U, 0x1U, 0x3U, 0x5U}) {
    CpuidRegisters cpu = Haswell();
    cpu.xcr0 = xcr0;
    EXPECT_EQ(CodeOf(cpu), StatusCode::kFailedPrecondition) << xcr0;
    EXPECT_THAT(CheckCpuFeatures(cpu).message(), HasSubstr("does not save the AVX registers"));
  }
}

#if defined(__x86_64__)
TEST(CpuFeaturesTest, ThisProcessorIsReadAsTheCompilerReadsIt) {
  const auto cpu = ReadCpuid();
  ASSERT_TRUE(cpu.has_value());
  const bool expected = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  EXPECT_EQ(CheckCpuFeatures(cpu).ok(), expected);  // F16C is older than AVX2
}
#else
TEST(CpuFeaturesTest, OtherProcessorsAreNotAsked) { EXPECT_FALSE(ReadCpuid().has_value()); }
#endif

}  // namespace
}  // namespace inferd
