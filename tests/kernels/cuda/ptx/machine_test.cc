// Lanes, warps, blocks and memory: what runs, and what is an error.
#include "kernels/cuda/ptx/run_text.h"

namespace inferd::cuda::ptx {
namespace {

constexpr const char* kStore = "st.global.u32 [%rd0], %r9;";

void ExpectError(const Outcome& outcome, const std::string& text) {
  EXPECT_NE(outcome.error.find(text), std::string::npos) << outcome.error;
}

// Each lane runs a loop as often as its number; then all meet in a shuffle.
TEST(PtxWarp, LanesPartAndMeet) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Outcome outcome =
        RunText(TextOf("mov.u32 %r9, 0; mov.u32 %r1, %r0;\n"
                       "$L_loop: setp.eq.s32 %p1, %r1, 0;\n@%p1 bra $L_end;\n"
                       "add.s32 %r9, %r9, %r1; sub.s32 %r1, %r1, 1; bra.uni $L_loop;\n"
                       "$L_end: shfl.sync.bfly.b32 %r2|%p2, %r9, 1, 31, -1;\n"
                       "mov.u32 %r9, %r2;\n" +
                       std::string(kStore)),
                64, 0, 0, seed);
    ASSERT_EQ(outcome.error, "");
    for (uint64_t t = 0; t < 64; ++t) {
      const uint64_t n = t ^ 1;
      EXPECT_EQ(outcome.results[t], n * (n + 1) / 2);
    }
  }
}

TEST(PtxWarp, Shuffles) {
  const auto shuffle = [](const std::string& mode, const std::string& rest, unsigned lane) {
    const Outcome outcome = RunText(TextOf("shfl.sync." + mode + ".b32 %r9|%p1, %r0, " + rest +
                                           ", -1;\n"
                                           "@!%p1 add.s32 %r9, %r9, 100;\n" +
                                           kStore),
                                    32);
    EXPECT_EQ(outcome.error, "");
    return outcome.results.at(lane);
  };
  EXPECT_EQ(shuffle("up", "3, 0", 10), 7U);
  EXPECT_EQ(shuffle("up", "3, 0", 2), 102U);  // its own, out of range
  EXPECT_EQ(shuffle("down", "3, 31", 10), 13U);
  EXPECT_EQ(shuffle("down", "3, 31", 30), 130U);
  EXPECT_EQ(shuffle("bfly", "16, 31", 3), 19U);
  EXPECT_EQ(shuffle("idx", "37, 31", 3), 5U);  // modulo 32
  // Segments of eight lanes: their mask is 0b11000.
  EXPECT_EQ(shuffle("idx", "2, 6175", 13), 10U);
  EXPECT_EQ(shuffle("down", "3, 6151", 14), 114U);
}

TEST(PtxWarp, VotesAndReductions) {
  Outcome outcome = RunText(
      TextOf("setp.lt.u32 %p1, %r0, 5; vote.sync.ballot.b32 %r9, %p1, -1;" + std::string(kStore)),
      32);
  EXPECT_EQ(outcome.results[9], 0x1FU);
  outcome = RunText(TextOf("setp.lt.u32 %p1, %r0, 5; vote.sync.any.pred %p2, !%p1, -1;"
                           "selp.u32 %r9, 1, 0, %p2;" +
                           std::string(kStore)),
                    32);
  EXPECT_EQ(outcome.results[9], 1U);
  outcome = RunText(TextOf("redux.sync.max.s32 %r9, %r0, -1;" + std::string(kStore)), 32);
  EXPECT_EQ(outcome.results[3], 31U);
}

// Half a warp shuffles among itself, the other half does something else.
TEST(PtxWarp, MasksName) {
  const std::string text = TextOf(
      "mov.u32 %r9, 5; setp.lt.u32 %p1, %r0, 16; @!%p1 bra $L_end;\n"
      "shfl.sync.bfly.b32 %r9, %r0, 1, 31, 0xFFFF;\n$L_end: " +
      std::string(kStore));
  EXPECT_EQ(RunText(text, 32).results[4], 5U);
  EXPECT_EQ(RunText(text, 32).results[20], 5U);
  ExpectError(RunText(TextOf("shfl.sync.bfly.b32 %r9, %r0, 1, 31, 0xFFFF;"), 32),
              "the lane is not in its own mask");
  ExpectError(RunText(TextOf("setp.eq.s32 %p1, %r0, 1; @%p1 ret;\n"
                             "shfl.sync.bfly.b32 %r9, %r0, 1, 31, -1;"),
                      32),
              "reads a lane that takes no part");
  ExpectError(RunText(TextOf("setp.lt.u32 %p1, %r0, 16; @%p1 bra $L1;\n"
                             "bar.warp.sync -1; bra.uni $L2;\n"
                             "$L1: bar.warp.sync -1;\n$L2: ret;"),
                      32),
              "lanes wait for each other: 16 in line");
}

// Lanes are not in lockstep: what one writes the next may read too early or too late.
TEST(PtxWarp, LanesAreOrderedByBarriersOnly) {
  const std::string body =
      ".shared .align 4 .b8 all[128];\nmov.u32 %r2, all; shl.b32 %r1, %r0, 2;\n"
      "add.s32 %r3, %r2, %r1; xor.b32 %r4, %r1, 4; add.s32 %r4, %r4, %r2;\n"
      "st.shared.u32 [%r3], %r0;\nbar.warp.sync -1;\nld.shared.u32 %r9, [%r4];\n";
  std::string racy = TextOf(body + kStore);
  racy.erase(racy.find("bar.warp.sync -1;"), 17);
  bool seen = false;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Outcome ordered = RunText(TextOf(body + kStore), 32, 0, 0, seed);
    const Outcome other = RunText(racy, 32, 0, 0, seed);
    for (uint64_t t = 0; t < 32; ++t) {
      ASSERT_EQ(ordered.results[t], t ^ 1);
      seen = seen || other.results[t] != (t ^ 1);
    }
  }
  EXPECT_TRUE(seen);
}

TEST(PtxBlock, BarriersOrderWarps) {
  const std::string head = ".extern .shared .align 128 .b8 all[];\n";
  const std::string body =
      "shl.b32 %r1, %r0, 2; mov.u32 %r2, all; add.s32 %r3, %r2, %r1;\n"
      "st.shared.u32 [%r3], %r0;\nbar.sync 0;\n"
      "sub.s32 %r4, 508, %r1; add.s32 %r4, %r4, %r2; ld.shared.u32 %r9, [%r4];\n";
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Outcome outcome = RunText(TextOf(body + kStore, head), 128, 512, 0, seed);
    ASSERT_EQ(outcome.error, "");
    for (uint64_t t = 0; t < 128; ++t) EXPECT_EQ(outcome.results[t], 127 - t);
  }
  // Without the barrier some seed reads what is not written yet.
  std::string racy = TextOf(body + kStore, head);
  racy.erase(racy.find("bar.sync 0;"), 11);
  bool seen = false;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Outcome outcome = RunText(racy, 128, 512, 0, seed);
    for (uint64_t t = 0; t < 128; ++t) seen = seen || outcome.results[t] == 0xFFFFFFFFU;
  }
  EXPECT_TRUE(seen);
}

TEST(PtxBlock, BarriersThatSomeMissAreErrors) {
  ExpectError(RunText(TextOf("setp.lt.u32 %p1, %r0, 32; @%p1 ret;\nbar.sync 0;"), 64),
              "a barrier after a thread of the block has ended");
  ExpectError(RunText(TextOf("setp.lt.u32 %p1, %r0, 5; @%p1 bra $L1;\nbar.sync 0;\n$L1: ret;"), 32),
              "a barrier after a thread of the block has ended");
  ExpectError(RunText(TextOf("setp.lt.u32 %p1, %r0, 5; @%p1 bra $L1;\nbar.sync 0; bra $L2;\n"
                             "$L1: bar.sync 0;\n$L2: ret;"),
                      32),
              "lanes wait for each other");
}

TEST(PtxBlock, EndlessLoopsEnd) {
  ExpectError(RunText(TextOf("$L1: bra $L1;"), 32), "makes no progress");
  ExpectError(RunText(TextOf("$L1: bar.sync 0; bra $L1;"), 64), "makes no progress");
}

TEST(PtxMemory, AccessesOutsideAreErrors) {
  const std::string head = ".extern .shared .align 128 .b8 all[];\n";
  const std::string a =
      ".shared .align 4 .b8 a[32];\n.shared .align 4 .b8 b[32];\nmov.u32 %r1, a;\n";
  EXPECT_EQ(RunText(TextOf(a + "st.shared.u32 [%r1+28], %r0;")).error, "");
  ExpectError(RunText(TextOf(a + "st.shared.u32 [%r1+32], %r0;")), "outside of shared memory");
  ExpectError(RunText(TextOf(a + "ld.shared.u32 %r2, [%r1+-4];")), "outside of shared memory");
  ExpectError(RunText(TextOf(a + "ld.shared.u32 %r2, [%r1+2];")), "misaligned");
  const std::string all = "mov.u32 %r1, all;\n";
  EXPECT_EQ(RunText(TextOf(all + "st.shared.u8 [%r1+99], %r0;", head), 1, 100).error, "");
  ExpectError(RunText(TextOf(all + "st.shared.u8 [%r1+100], %r0;", head), 1, 100), "outside");
  ExpectError(RunText(TextOf("mov.u64 %rd5, 8; ld.global.u64 %rd6, [%rd5];")), "that is none");
  ExpectError(RunText(TextOf("ld.global.u64 %rd6, [%rd0+4];")), "misaligned");
  ExpectError(RunText(TextOf("ld.global.v2.u64 {%rd6, %rd7}, [%rd0+8];"), 4), "misaligned");
  ExpectError(RunText(TextOf("ld.param.u64 %rd6, [k_param_0+16];")), "outside of the parameters");
  // The line and the thread are in the text.
  ExpectError(RunText(TextOf("mov.u64 %rd5, 8;\nst.global.u64 [%rd5], %rd5;")),
              "(k, line 20, block 0,0,0, thread 0)");
}

TEST(PtxMemory, WidthsVectorsAndSpaces) {
  Outcome outcome =
      RunText(TextOf("mov.u16 %rs1, 0x1FE; st.global.u8 [%rd0], %rs1;\n"
                     "ld.global.s8 %rs2, [%rd0]; cvt.s32.s16 %r9, %rs2;\n" +
                     std::string(kStore)));
  EXPECT_EQ(outcome.results[0], 0xFFFFFFFEU);
  outcome = RunText(TextOf("st.global.v2.u32 [%rd0], {1, %r0}; ld.global.v2.u32 {_, %r9}, [%rd0];"
                           "add.s32 %r9, %r9, 7;" +
                           std::string(kStore)),
                    1);
  EXPECT_EQ(outcome.results[0], 7U);
  // Generic addresses of local and shared memory.
  outcome =
      RunText(TextOf(".local .align 4 .b8 mine[16];\n.shared .align 4 .b8 ours[16];\n"
                     "mov.u64 %rd3, mine; cvta.local.u64 %rd4, %rd3; st.local.u32 [%rd3+4], %r0;\n"
                     "ld.u32 %r1, [%rd4+4]; mov.u64 %rd5, ours; cvta.shared.u64 %rd6, %rd5;\n"
                     "st.u32 [%rd6+8], 40; ld.shared.u32 %r2, [ours+8]; add.s32 %r9, %r1, %r2;\n" +
                     std::string(kStore)),
              32);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.results[3], 43U);
}

TEST(PtxMemory, Atomics) {
  const Outcome outcome =
      RunText(TextOf(".shared .align 4 .b8 sum[4];\nmov.u32 %r1, sum; setp.eq.s32 %p1, %r0, 0;\n"
                     "@%p1 st.shared.u32 [%r1], 10;\nbar.sync 0;\n"
                     "atom.shared.add.u32 %r2, [%r1], %r0;\nbar.sync 0;\n"
                     "atom.shared.cas.b32 %r3, [%r1], 2026, 1; ld.shared.u32 %r9, [sum];\n" +
                     std::string(kStore)),
              64);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.results[63], 1U);  // 10 + 0 + ... + 63
}

// Copies of 16 bytes, of which `size` come from the source, and what is there after `wait`.
Outcome CopyAndWait(const std::string& size, const std::string& wait, uint64_t seed = 0) {
  alignas(16) static const uint32_t source[4] = {1, 2, 3, 4};
  return RunText(
      TextOf(".shared .align 16 .b8 to[16];\nmov.u32 %r1, to; ld.param.u64 %rd5, [k_param_0+8];\n"
             "cp.async.cg.shared.global [%r1], [%rd5], 16" +
             size + ";\ncp.async.commit_group;\n" + wait + "\nld.shared.u32 %r9, [%r1+4];\n" +
             kStore),
      1, 0, reinterpret_cast<uint64_t>(source), seed);
}

TEST(PtxMemory, CopiesArriveWhenTheyAreWaitedFor) {
  EXPECT_EQ(CopyAndWait("", "cp.async.wait_group 0;").results[0], 2U);
  EXPECT_EQ(CopyAndWait(", 16", "cp.async.wait_all;").results[0], 2U);
  EXPECT_EQ(CopyAndWait(", 4", "cp.async.wait_group 0;").results[0], 0U);
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Outcome early = CopyAndWait("", "cp.async.wait_group 1;", seed);
    EXPECT_EQ(early.results[0], 0xFFFFFFFFU);
    ExpectError(early, "never waited for");
  }
  ExpectError(CopyAndWait(", 17", ""), "more than its size");
}

}  // namespace
}  // namespace inferd::cuda::ptx
