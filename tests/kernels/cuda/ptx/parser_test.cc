#include "kernels/cuda/ptx/lexer.h"
#include "kernels/cuda/ptx/library.h"
#include "kernels/cuda/ptx/run_text.h"

namespace inferd::cuda::ptx {
namespace {

TEST(PtxLexer, WordsKeepDotsAndColons) {
  Lexer lexer("@!%p1 ld.L2::128B.u32 {%r1, _}, [%rd2+-4]; // words\n/* no\n word */$L_1:\n");
  std::string words;
  int last_line = 0;
  while (!lexer.AtEnd()) {
    last_line = lexer.token().line;
    words += std::string(lexer.Take().text) + " ";
  }
  EXPECT_EQ(words, "@ ! %p1 ld.L2::128B.u32 { %r1 , _ } , [ %rd2 + - 4 ] ; $L_1 : ");
  EXPECT_EQ(last_line, 3);
}

TEST(PtxLexer, Numbers) {
  EXPECT_EQ(ParseNumber("0")->bits, 0U);
  EXPECT_EQ(ParseNumber("18446744073709551615")->bits, ~uint64_t{0});
  EXPECT_EQ(ParseNumber("0x1F")->bits, 31U);
  EXPECT_EQ(ParseNumber("017")->bits, 15U);
  EXPECT_EQ(ParseNumber("0f3F800000")->bits, 0x3F800000U);
  EXPECT_EQ(ParseNumber("0f3F800000")->float_bytes, 4);
  EXPECT_EQ(ParseNumber("0dBFF0000000000000")->float_bytes, 8);
  for (const char* text : {"", "x", "1x", "0f3F80000", "08", "0x", "18446744073709551616"}) {
    EXPECT_FALSE(ParseNumber(text).has_value()) << text;
  }
}

std::string ErrorOf(const std::string& body) { return RunText(TextOf(body)).error; }

// What is not known is never passed over.
TEST(PtxParser, ErrorsNameTheLine) {
  struct Case {
    const char* body;
    const char* error;
  };
  const Case cases[] = {
      {"frobnicate.u32 %r1, %r2;", "line 19: frobnicate.u32: an instruction that is not known"},
      {"add.u33 %r1, %r2, %r3;", "line 19"},
      {"add.sat.s32 %r1, %r2, %r3;", "line 19"},
      {"ld.global.L2::1B.u32 %r1, [%rd0];", "not a type: .L2::1B"},
      {"\nbar.red.popc.u32 %r1, 0, %p1;", "line 20"},
      {"bar.sync 1;", "a barrier other than 0"},
      {"add.s32 %r1, %r2, %rd3;", "a register of another width"},
      {"add.s32 %r1, %r2;", "too few operands"},
      {"add.s32 %r1, %r2, %r3, %r4;", "too many operands"},
      {"add.s32 %r1, %r2, %r99;", "a name that is not known: %r99"},
      {"add.f32 %f1, %f2, 1;", "an integer for a float"},
      {"bra $L_nowhere;", "not a label"},
      {"ld.global.v4.u64 {%rd1, %rd2, %rd3, %rd4}, [%rd0];", "more than 16 bytes"},
      {"ld.global.v2.u32 {%r1, %r2, %r3}, [%rd0];", "not as many registers"},
      {"st.param.u32 [k_param_0], %r1;", "parameters are not written"},
      {"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2}, {%r3},"
       " {%f1, %f2, %f3, %f4};",
       "a shape or a type"},
      {"mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, "
       "%r4}, {%r5, %r6}, {%f1, %f2, %f3, %f4};",
       "not .row.col"},
      {"cp.async.cg.shared.global [%r1], [%rd1], 4;", "a size that is none"},
      {".local .align 3 .b8 x[4];", "alignment"},
      {".unknown 1;", "a directive that is not known '.unknown'"},
      {"cvt.f32.s32 %f1, %r1;", "an instruction's type that is not known"},
      {"setp.ltu.s32 %p1, %r1, %r2;", "an instruction's type that is not known"},
      {"shl.b32 %r1, %r2, %r3", "';' is missing"},
  };
  for (const Case& c : cases) {
    EXPECT_NE(ErrorOf(c.body).find(c.error), std::string::npos)
        << c.body << ": " << ErrorOf(c.body);
  }
}

TEST(PtxParser, ScopesHaveRegistersOfTheirOwn) {
  const Outcome outcome = RunText(
      TextOf("mov.b64 %rd5, 0x100000002;\n"
             "{ .reg .b32 %r1; .reg .b32 %lost; mov.b64 {%lost, %r1}, %rd5; mov.u32 %r9, %r1; }\n"
             "{ .reg .b32 %lost; mov.b64 {%r8, %lost}, %rd5; }\n"
             "mov.b64 %rd6, {%r9, %r8};\nst.global.u64 [%rd0], %rd6;"));
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.results[0], 0x200000001U);
}

TEST(PtxParser, ATextThatEndsEarlyIsAnError) {
  const std::string text = TextOf("st.global.u32 [%rd0], %r0;");
  ASSERT_EQ(RunText(text).error, "");
  for (size_t length = 60; length + 3 < text.size(); length += 7) {
    EXPECT_NE(RunText(text.substr(0, length)).error, "") << text.substr(0, length);
  }
}

// What nvcc 13 writes for one kernel in two compilations, the second without a function that
// is seen from outside of its file.
TEST(PtxLibrary, NamesOfAnonymousNamespacesAreTheFiles) {
  const std::string name =
      StableName("_ZN6inferd4cuda39_GLOBAL__N__7ae7ff3e_7_rows_cu_efb46ca711EmbedKernelILi4EEEvi");
  EXPECT_EQ(name, StableName("_ZN6inferd4cuda45_GLOBAL__N__00c0ffee_7_rows_cu_1234abcd_15991"
                             "11EmbedKernelILi4EEEvi"));
  EXPECT_NE(name, StableName("_ZN6inferd4cuda39_GLOBAL__N__7ae7ff3e_7_cols_cu_efb46ca711"
                             "EmbedKernelILi4EEEvi"));
  EXPECT_NE(name, StableName("_ZN6inferd4cuda39_GLOBAL__N__7ae7ff3e_7_rows_cu_efb46ca711"
                             "EmbedKernelILi1EEEvi"));
  // The digit of fp8 is not one of the length.
  EXPECT_EQ(
      StableName("_ZN6inferd4cuda3fp839_GLOBAL__N__7ae7ff3e_7_rows_cu_efb46ca711EmbedKernelEvi"),
      StableName("_ZN6inferd4cuda3fp839_GLOBAL__N__00c0ffee_7_rows_cu_1234abcd11EmbedKernelEvi"));
  EXPECT_EQ(StableName("_Z3addv"), "_Z3addv");
}

}  // namespace
}  // namespace inferd::cuda::ptx
