// ldmatrix and mma.sync against what the manual's figures show for some lanes.
#include <bit>
#include <cstring>

#include "kernels/cuda/ptx/run_text.h"

namespace inferd::cuda::ptx {
namespace {

// Rows of 8 16-bit numbers, matrix by matrix: 100 matrix + 10 row + column.
std::vector<uint16_t> Matrices() {
  std::vector<uint16_t> values;
  for (int m = 0; m < 4; ++m) {
    for (int r = 0; r < 8; ++r) {
      for (int c = 0; c < 8; ++c) values.push_back(static_cast<uint16_t>(100 * m + 10 * r + c));
    }
  }
  return values;
}

// What a thread of a warp gets in register `part` of ldmatrix.x4.
std::vector<uint64_t> Loaded(const std::string& form, int part) {
  const std::vector<uint16_t> values = Matrices();
  const Outcome outcome =
      RunText(TextOf(".shared .align 16 .b8 all[512];\nld.param.u64 %rd5, [k_param_0+8];\n"
                     "mul.wide.u32 %rd6, %r0, 16; add.s64 %rd5, %rd5, %rd6;\n"
                     "ld.global.u64 %rd7, [%rd5]; ld.global.u64 %rd8, [%rd5+8];\n"
                     "mov.u32 %r1, all; shl.b32 %r2, %r0, 4; add.s32 %r1, %r1, %r2;\n"
                     "st.shared.u64 [%r1], %rd7; st.shared.u64 [%r1+8], %rd8;\nbar.warp.sync -1;\n"
                     "ldmatrix.sync.aligned.m8n8.x4" +
                     form +
                     ".shared.b16 {%r4, %r5, %r6, %r7}, [%r1];\n"
                     "st.global.u32 [%rd0], %r" +
                     std::to_string(4 + part) + ";"),
              32, 0, reinterpret_cast<uint64_t>(values.data()));
  EXPECT_EQ(outcome.error, "");
  return outcome.results;
}

TEST(PtxMatrix, LoadsRowsOrColumns) {
  const auto pair = [](uint64_t low, uint64_t high) { return low | high << 16; };
  EXPECT_EQ(Loaded("", 0)[0], pair(0, 1));
  EXPECT_EQ(Loaded("", 0)[3], pair(6, 7));
  EXPECT_EQ(Loaded("", 0)[4], pair(10, 11));
  EXPECT_EQ(Loaded("", 2)[31], pair(276, 277));
  EXPECT_EQ(Loaded(".trans", 0)[0], pair(0, 10));
  EXPECT_EQ(Loaded(".trans", 0)[3], pair(60, 70));
  EXPECT_EQ(Loaded(".trans", 1)[4], pair(101, 111));
  EXPECT_EQ(Loaded(".trans", 3)[31], pair(367, 377));
}

// One element of A, one of B, each 1 or 2, all others 0: where 2 comes out, in which register.
struct Hit {
  unsigned lane;
  unsigned element;  // of the lane's fragment, from the lowest bits of its first register
};
void ExpectProduct(const std::string& form, unsigned per_word, uint32_t one, uint32_t two, Hit a,
                   Hit b, Hit d, bool integer) {
  const unsigned bits = 32 / per_word;
  std::string code = "mov.u32 %r9, 0;\n";
  for (int i = 1; i <= 6; ++i) code += "mov.u32 %r" + std::to_string(i) + ", 0;\n";
  const auto set = [&](Hit hit, unsigned first, uint32_t value) {
    const unsigned shift = hit.element % per_word * bits;
    code += "setp.eq.s32 %p1, %r0, " + std::to_string(hit.lane) + "; @%p1 mov.u32 %r" +
            std::to_string(first + hit.element / per_word) + ", " + std::to_string(value << shift) +
            ";\n";
  };
  set(a, 1, one);
  set(b, 5, two);
  const std::string sums = integer ? "%r10, %r11, %r12, %r13" : "%f1, %f2, %f3, %f4";
  for (int i = 0; i < 4; ++i) {
    code += integer ? "mov.u32 %r1" + std::to_string(i) + ", 0;\n"
                    : "mov.f32 %f" + std::to_string(1 + i) + ", 0f00000000;\n";
  }
  code += "mma.sync.aligned." + form + " {" + sums + "}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {" +
          sums + "};\n";
  const std::string from =
      integer ? "%r1" + std::to_string(d.element) : "%f" + std::to_string(1 + d.element);
  code += "st.global." + std::string(integer ? "u32" : "f32") + " [%rd0], " + from + ";";
  const Outcome outcome = RunText(TextOf(code), 32);
  ASSERT_EQ(outcome.error, "") << form;
  for (unsigned lane = 0; lane < 32; ++lane) {
    const uint64_t expected = lane != d.lane ? 0 : integer ? 2 : std::bit_cast<uint32_t>(2.0F);
    EXPECT_EQ(outcome.results[lane], expected) << form << " lane " << lane;
  }
}

// By the figures: A of m16n8k16 has a0, a1 of T5 in row 1, columns 2, 3; a2, a3 in row 9; a4,
// a5 in row 1, columns 10, 11; B has b0, b1 of T5 in column 1, rows 2, 3, b2, b3 in rows 10, 11;
// C has c0, c1 of T5 in row 1, columns 2, 3 and c2, c3 in row 9.
TEST(PtxMatrix, ProductsOf16Bits) {
  for (const bool half : {false, true}) {
    const std::string form =
        half ? "m16n8k16.row.col.f32.f16.f16.f32" : "m16n8k16.row.col.f32.bf16.bf16.f32";
    const uint32_t one = half ? 0x3C00 : 0x3F80;
    const uint32_t two = 0x4000;
    // A(1, 2) B(2, 1) = D(1, 1), which is c1 of T4.
    ExpectProduct(form, 2, one, two, {5, 0}, {5, 0}, {4, 1}, false);
    // A(9, 3) B(3, 7) = D(9, 7), c3 of T7.
    ExpectProduct(form, 2, one, two, {5, 3}, {29, 1}, {7, 3}, false);
    // A(1, 10) B(10, 0) = D(1, 0), c0 of T4.
    ExpectProduct(form, 2, one, two, {5, 4}, {1, 2}, {4, 0}, false);
    // A(15, 15) B(15, 2) = D(15, 2), c2 of T29.
    ExpectProduct(form, 2, one, two, {31, 7}, {11, 3}, {29, 2}, false);
  }
}

// m16n8k32: a0 .. a3 of T5 in row 1, columns 4 .. 7; a4 .. a7 in row 9; a8 .. a11 in row 1,
// columns 20 .. 23; b0 .. b3 in column 1, rows 4 .. 7, b4 .. b7 in rows 20 .. 23.
TEST(PtxMatrix, ProductsOf8Bits) {
  for (const bool integer : {true, false}) {
    const std::string form =
        integer ? "m16n8k32.row.col.s32.s8.s8.s32" : "m16n8k32.row.col.f32.e4m3.e4m3.f32";
    const uint32_t one = integer ? 1 : 0x38;
    const uint32_t two = integer ? 2 : 0x40;
    ExpectProduct(form, 4, one, two, {5, 0}, {5, 0}, {4, 1}, integer);      // (1, 4) (4, 1)
    ExpectProduct(form, 4, one, two, {5, 7}, {29, 3}, {7, 3}, integer);     // (9, 7) (7, 7)
    ExpectProduct(form, 4, one, two, {5, 10}, {1, 6}, {4, 0}, integer);     // (1, 22) (22, 0)
    ExpectProduct(form, 4, one, two, {31, 15}, {11, 7}, {29, 2}, integer);  // (15, 31) (31, 2)
  }
}

TEST(PtxMatrix, SumsAndSigns) {
  // Every element of A and B -1, k of them, and 5 before.
  const Outcome outcome = RunText(
      TextOf("mov.u32 %r1, -1; mov.u32 %r9, 5;\nmma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
             "{%r9, %r10, %r11, %r12}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r9, %r9, %r9, %r9};\n"
             "st.global.u32 [%rd0], %r9;"),
      32);
  EXPECT_EQ(outcome.results[17], 37U);
  // Half a warp is none.
  const Outcome half =
      RunText(TextOf("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r0];"), 16);
  EXPECT_NE(half.error.find("a whole warp"), std::string::npos) << half.error;
}

}  // namespace
}  // namespace inferd::cuda::ptx
