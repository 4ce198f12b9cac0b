// Instructions on registers, one by one: results by hand, from the manual's words.
#include <bit>
#include <cmath>

#include "kernels/cuda/ptx/formats.h"
#include "kernels/cuda/ptx/run_text.h"

namespace inferd::cuda::ptx {
namespace {

struct Case {
  const char* code;  // leaves its result in %r9, %rd9, %f9, %fd7, %rs9 or %p7
  uint64_t result;
};

uint64_t ResultOf(const std::string& code) {
  std::string store = "st.global.u32 [%rd0], %r9;";
  if (code.find("%rd9") != std::string::npos) store = "st.global.u64 [%rd0], %rd9;";
  if (code.find("%f9") != std::string::npos) store = "st.global.f32 [%rd0], %f9;";
  if (code.find("%fd7") != std::string::npos) store = "st.global.f64 [%rd0], %fd7;";
  if (code.find("%rs9") != std::string::npos) store = "st.global.u16 [%rd0], %rs9;";
  if (code.find("%p7") != std::string::npos) {
    store = "selp.u32 %r9, 1, 0, %p7; st.global.u32 [%rd0], %r9;";
  }
  const Outcome outcome = RunText(TextOf(code + "\n" + store));
  EXPECT_EQ(outcome.error, "") << code;
  return outcome.results.empty() ? ~uint64_t{0} : outcome.results[0];
}

uint64_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

TEST(PtxArithmetic, Integers) {
  const Case cases[] = {
      {"add.s32 %r9, 2147483647, 1;", 0x80000000U},
      {"sub.s64 %rd9, 0, 1;", ~uint64_t{0}},
      {"mul.lo.s32 %r9, 65536, 65537;", 65536},
      {"mul.hi.u32 %r9, 0xFFFFFFFF, 0xFFFFFFFF;", 0xFFFFFFFEU},
      {"mul.hi.s32 %r9, -1, 5;", 0xFFFFFFFFU},
      {"mul.hi.u64 %rd9, 0xFFFFFFFFFFFFFFFF, 16;", 15},
      {"mul.wide.s32 %rd9, -3, 5;", static_cast<uint64_t>(-15)},
      {"mul.wide.u32 %rd9, 0xFFFFFFFF, 2;", 0x1FFFFFFFEU},
      {"mov.u16 %rs1, 40000; mul.wide.u16 %r9, %rs1, 3;", 120000},
      {"mad.lo.s32 %r9, 7, -2, 20;", 6},
      {"mad.wide.u32 %rd9, 0xFFFFFFFF, 2, 2;", 0x200000000U},
      {"div.s32 %r9, -7, 2;", static_cast<uint32_t>(-3)},
      {"rem.s32 %r9, -7, 2;", static_cast<uint32_t>(-1)},
      {"div.u32 %r9, 0xFFFFFFFE, 2;", 0x7FFFFFFFU},
      {"div.s32 %r9, -2147483648, -1;", 0x80000000U},
      {"min.s32 %r9, -1, 1;", 0xFFFFFFFFU},
      {"max.u64 %rd9, -1, 1;", ~uint64_t{0}},
      {"neg.s32 %r9, 5;", static_cast<uint32_t>(-5)},
      {"abs.s32 %r9, -5;", 5},
  };
  for (const Case& c : cases) EXPECT_EQ(ResultOf(c.code), c.result) << c.code;
}

TEST(PtxArithmetic, Bits) {
  const Case cases[] = {
      {"shl.b32 %r9, 3, 31;", 0x80000000U},
      {"shl.b32 %r9, 3, 32;", 0},
      {"shr.s32 %r9, -8, 1;", static_cast<uint32_t>(-4)},
      {"shr.s32 %r9, -8, 40;", 0xFFFFFFFFU},
      {"shr.u64 %rd9, -1, 60;", 15},
      {"not.b32 %r9, 0;", 0xFFFFFFFFU},
      {"mov.pred %p1, 0; not.pred %p7, %p1;", 1},
      {"bfe.u32 %r9, 0xABCD1234, 8, 12;", 0xD12},
      {"bfe.s32 %r9, 0x00000F00, 8, 4;", 0xFFFFFFFFU},
      {"bfi.b32 %r9, 0xFF, 0, 28, 8;", 0xF0000000U},
      {"bfi.b64 %rd9, 0x12345678, 0xFFFFFFFFFFFFFFFF, 32, 32;", 0x12345678FFFFFFFFU},
      // Bytes 0 to 3 are the first word's, 4 to 7 the second's.
      {"prmt.b32 %r9, 0x33221100, 0x77665544, 0x7410;", 0x77441100U},
      {"prmt.b32 %r9, 0x33228000, 0x77665544, 0x0909;", 0x00FF00FFU},
      {"lop3.b32 %r9, 0xF0F0F0F0, 0xCCCCCCCC, 0xAAAAAAAA, 0xCA;", 0xCACACACAU},
      {"shf.l.wrap.b32 %r9, 0x80000000, 0x00000001, 1;", 3},
      {"shf.r.clamp.b32 %r9, 0x80000000, 0x00000001, 32;", 1},
      {"popc.b32 %r9, 0xF0F;", 8},
      {"clz.b32 %r9, 1;", 31},
      {"brev.b32 %r9, 1;", 0x80000000U},
  };
  for (const Case& c : cases) EXPECT_EQ(ResultOf(c.code), c.result) << c.code;
}

TEST(PtxArithmetic, Floats) {
  const Case cases[] = {
      {"add.f32 %f9, 0f3F800000, 0f40000000;", Bits(3)},
      // (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24 only if rounded once.
      {"fma.rn.f32 %f9, 0f3F800800, 0f3F800800, 0fBF801000;", Bits(0x1p-24F)},
      {"fma.rm.f32 %f9, 0f3F800000, 0f3F800000, 0f00000001;", Bits(1)},
      {"fma.rp.f32 %f9, 0f3F800000, 0f3F800000, 0f00000001;", 0x3F800001U},
      {"fma.rz.f32 %f9, 0fBF800000, 0f3F800000, 0f00000001;", 0xBF7FFFFFU},
      {"div.rn.f32 %f9, 0f3F800000, 0f40400000;", 0x3EAAAAABU},
      {"min.f32 %f9, 0f7FC00000, 0f3F800000;", Bits(1)},
      {"max.f32 %f9, 0f80000000, 0f00000000;", 0},
      {"neg.f32 %f9, 0f00000000;", 0x80000000U},
      {"ex2.approx.ftz.f32 %f9, 0f40400000;", Bits(8)},
      {"ex2.approx.ftz.f32 %f9, 0fC3080000;", 0},  // 2^-136 is no normal number
      {"ex2.approx.f32 %f9, 0fC3080000;", Bits(0x1p-136F)},
      {"lg2.approx.f32 %f9, 0f41000000;", Bits(3)},
      {"rcp.rn.f32 %f9, 0f40800000;", Bits(0.25F)},
      {"sqrt.rn.f32 %f9, 0f41100000;", Bits(3)},
      {"add.f64 %fd7, 0d3FF0000000000000, 0d3CA0000000000000;", 0x3FF0000000000000U},
      {"rcp.approx.ftz.f64 %fd7, 0d4010000000000000;", 0x3FD0000000000000U},
  };
  for (const Case& c : cases) EXPECT_EQ(ResultOf(c.code), c.result) << c.code;
}

TEST(PtxArithmetic, PairsOfHalfPrecision) {
  // 1 * 2 + 0.5 above, -3 * 3 + 1 below.
  EXPECT_EQ(ResultOf("fma.rn.bf16x2 %r9, 0x3F80C040, 0x40004040, 0x3F003F80;"), 0x4020C100U);
  // 1 + 2^-8 lies between two bf16 and goes to the even one; a little more goes up.
  EXPECT_EQ(ResultOf("fma.rn.bf16x2 %r9, 0x3F803F80, 0x3B803B80, 0x3F803F80;"), 0x3F803F80U);
  EXPECT_EQ(ResultOf("fma.rn.bf16x2 %r9, 0x3F813F81, 0x3B803B80, 0x3F803F80;"), 0x3F813F81U);
  EXPECT_EQ(ResultOf("fma.rn.f16x2 %r9, 0x3C00C200, 0x40004200, 0x38003C00;"), 0x4100C800U);
}

TEST(PtxArithmetic, Comparisons) {
  const Case cases[] = {
      {"setp.lt.s32 %p7, -1, 1;", 1},
      {"setp.lt.u32 %p7, -1, 1;", 0},
      {"setp.eq.b32 %p7, 5, 5;", 1},
      {"setp.lt.f32 %p7, 0f7FC00000, 0f00000000;", 0},
      {"setp.ltu.f32 %p7, 0f7FC00000, 0f00000000;", 1},
      {"setp.ne.f32 %p7, 0f7FC00000, 0f00000000;", 0},
      {"setp.neu.f32 %p7, 0f7FC00000, 0f00000000;", 1},
      {"setp.gtu.f32 %p7, 0f3F800000, 0f40000000;", 0},
      {"setp.geu.f32 %p7, 0f3F800000, 0f3F800000;", 1},
      {"setp.nan.f32 %p7, 0f7FC00000, 0f3F800000;", 1},
      {"mov.pred %p1, 1; selp.b32 %r9, 3, 4, %p1;", 3},
      {"mov.pred %p1, 0; @%p1 bra $L1; mov.u32 %r9, 7; $L1: @!%p1 add.s32 %r9, %r9, 1;", 8},
  };
  for (const Case& c : cases) EXPECT_EQ(ResultOf(c.code), c.result) << c.code;
}

TEST(PtxArithmetic, Conversions) {
  const Case cases[] = {
      {"cvt.s64.s32 %rd9, -2;", static_cast<uint64_t>(-2)},
      {"mov.u32 %r1, -2; cvt.u64.u32 %rd9, %r1;", 0xFFFFFFFEU},
      {"mov.u16 %rs1, 0x1280; cvt.s16.s8 %rs9, %rs1;", 0xFF80},
      {"mov.u32 %r1, 0x12345; cvt.u16.u32 %rs9, %r1;", 0x2345},
      {"mov.u32 %r1, 16777217; cvt.rn.f32.s32 %f9, %r1;", Bits(16777216)},
      {"cvt.rni.f32.f32 %f9, 0f40200000;", Bits(2)},                    // 2.5
      {"cvt.rzi.s32.f32 %r9, 0fC0700000;", static_cast<uint32_t>(-3)},  // -3.75
      {"cvt.rzi.s32.f32 %r9, 0f4F800000;", 0x7FFFFFFFU},
      {"cvt.rzi.u32.f32 %r9, 0fBF800000;", 0},
      {"cvt.rzi.s32.f32 %r9, 0f7FC00000;", 0},
      {"cvt.rzi.u64.f32 %rd9, 0f7FC00000;", 0x8000000000000000U},
      {"cvt.rpi.f64.f64 %fd7, 0d3FF199999999999A;", 0x4000000000000000U},
      {"cvt.sat.f32.f32 %f9, 0f40000000;", Bits(1)},
      {"cvt.sat.f32.f32 %f9, 0f7FC00000;", 0},
      {"cvt.rn.f32.f64 %f9, 0d3FF0000010000000;", Bits(1)},
      {"mov.u16 %rs1, 0x0001; cvt.f32.f16 %f9, %rs1;", Bits(0x1p-24F)},
      {"cvt.rn.f16.f32 %rs9, 0f477FF000;", 0x7C00},  // 65520
      {"cvt.rn.f16.f32 %rs9, 0f33000000;", 0},       // 2^-25: a tie with zero
      {"cvt.rn.bf16.f32 %rs9, 0f3F818000;", 0x3F82},
      {"cvt.rn.bf16.f32 %rs9, 0f7F800001;", 0x7FFF},
      // The first source is the upper half.
      {"cvt.rn.bf16x2.f32 %r9, 0f3F800000, 0f40000000;", 0x3F804000U},
      {"cvt.rn.f16x2.f32 %r9, 0f3F800000, 0f40000000;", 0x3C004000U},
      {"cvt.rn.satfinite.e4m3x2.f32 %rs9, 0f3F800000, 0fC47A0000;", 0x38FE},
      {"cvt.rn.satfinite.e4m3x2.f32 %rs9, 0f00000000, 0f7FC00000;", 0x007F},
  };
  for (const Case& c : cases) EXPECT_EQ(ResultOf(c.code), c.result) << c.code;
}

// The nearest of all numbers of the format, by search.
TEST(PtxFormats, RoundToTheNearest) {
  for (const Format& format : {kHalfFormat, kBf16Format, kE4m3Format}) {
    const uint32_t end = (1U << (format.exponent_bits + format.mantissa_bits)) - 1;
    for (uint32_t bits = 0; bits + 1 < end; ++bits) {
      const double a = ToDouble(format, bits);
      const double b = ToDouble(format, bits + 1);
      if (!std::isfinite(b) || std::isnan(a)) continue;
      ASSERT_EQ(FromDouble(format, a, false), bits);
      ASSERT_EQ(FromDouble(format, (a + b) / 2, false), bits + bits % 2);
      ASSERT_EQ(FromDouble(format, a + (b - a) * 0.4999, false), bits);
      ASSERT_EQ(FromDouble(format, -(a + (b - a) * 0.5001), false), (bits + 1) | (end + 1));
    }
  }
  EXPECT_EQ(ToDouble(kE4m3Format, 0x7E), 448);
  EXPECT_EQ(FromDouble(kHalfFormat, 65519, false), 0x7BFFU);
  EXPECT_EQ(FromDouble(kHalfFormat, 65520, false), 0x7C00U);
  EXPECT_EQ(FromDouble(kHalfFormat, 1e9, true), 0x7BFFU);
}

}  // namespace
}  // namespace inferd::cuda::ptx
