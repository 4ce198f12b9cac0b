// The emulator finds what it is there to find, and runs right kernels rightly.
#include "cuda/emulator/emulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "cuda/async_copy.h"
#include "cuda/reduce.h"
#include "cuda/simt.h"
#include "cuda/vec.h"

namespace inferd::cuda {
namespace {

constexpr uint64_t kSeeds = 8;

// The race detector reports a kernel without its barriers by itself.
#if defined(__SANITIZE_THREAD__)
constexpr bool kRaceDetector = true;
#else
constexpr bool kRaceDetector = false;
#endif

struct Params {
  const int32_t* in;
  int32_t* out;
  int32_t n;
  int32_t mode;
};

// Runs under several seeds; what was wrong, each text once.
template <class Check>
std::set<int> CodesOf(void (*kernel)(Params), const LaunchShape& shape, const Params& params,
                      Check check) {
  std::set<int> codes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emulator::SetSeed(seed);
    codes.insert(Launch(kernel, shape, nullptr, params));
    check();
  }
  return codes;
}

// Each block reverses its threads' numbers through shared memory.
SIMT_KERNEL(256) Reverse(Params p) {
  SIMT_DYNAMIC_SHARED(bytes);
  auto* shared = reinterpret_cast<int32_t*>(bytes);
  const unsigned first = BlockX() * BlockDimX();
  shared[ThreadX()] = p.in[first + ThreadX()];
  if (p.mode == 0) SyncThreads();
  p.out[first + ThreadX()] = shared[BlockDimX() - 1 - ThreadX()];
}

TEST(Emulator, RunsBlocksAndBarriers) {
  std::vector<int32_t> in(5 * 96);
  std::iota(in.begin(), in.end(), 0);
  std::vector<int32_t> out(in.size(), -1);
  const auto codes = CodesOf(Reverse, {.grid = {5}, .block = {96}, .shared_bytes = 96 * 4},
                             {in.data(), out.data(), 0, 0}, [&] {
                               for (int i = 0; i < 480; ++i) {
                                 ASSERT_EQ(out[i], i / 96 * 96 + 95 - i % 96);
                               }
                             });
  EXPECT_EQ(codes, std::set<int>{0}) << emulator::LastError();
}

TEST(Emulator, AMissingBarrierShows) {
  if (kRaceDetector) GTEST_SKIP();
  std::vector<int32_t> in(96, 7);
  std::vector<int32_t> out(96);
  int wrong = 0;
  CodesOf(Reverse, {.grid = {1}, .block = {96}, .shared_bytes = 96 * 4},
          {in.data(), out.data(), 0, 1},
          [&] { wrong += std::count(out.begin(), out.end(), 7) != 96; });
  EXPECT_EQ(wrong, kSeeds);
}

SIMT_KERNEL(256) Divergent(Params p) {
  switch (p.mode) {
    case 0:  // some do not come
      if (ThreadX() % 2 == 0) SyncThreads();
      break;
    case 1:  // not the same barrier
      if (ThreadX() < 32) {
        SyncThreads();
      } else {
        SyncThreads();
      }
      break;
    case 2:  // lanes that never come
      if (Lane() < 16) SyncWarp();
      break;
    case 3:  // a lane outside the mask
      if (Lane() < 16) p.out[ThreadX()] = ShflXor(1, 16, 0xFFFF);
      break;
    case 4: {  // outside shared memory
      SIMT_SHARED(one, int32_t);
      if (ThreadX() == 0) (&one)[p.n] = 1;
      break;
    }
    case 5: {  // waits for what never comes
      while (AtomicAdd(p.out, 0) == 0) {
      }
      break;
    }
    case 6:  // different operations of one warp
      if (Lane() < 16) {
        p.out[ThreadX()] = static_cast<int32_t>(Ballot(true));
      } else {
        SyncWarp();
      }
      break;
    case 7:
      LoadVec<int32_t, 4>(p.in + 1);
      break;
    case 8: {
      SIMT_SHARED(place, Vec<int32_t, 4>);
      if (ThreadX() == 0) {
        CopyAsync16(&place, p.in);
        CommitCopies();
      }
      break;
    }
    default:
      SIMT_ASSERT(p.mode < 9);
      break;
  }
}

TEST(Emulator, ReportsWhatIsWrong) {
  const char* expected[] = {"",
                            "different barriers",
                            "",
                            "outside the mask",
                            "outside shared memory",
                            "no progress",
                            "another lane of the mask is in",
                            "misaligned vector",
                            "never waited for",
                            "assertion failed: p.mode < 9"};
  alignas(16) const int32_t in[8] = {};
  for (int mode = 0; mode < 10; ++mode) {
    if (mode == 5) continue;  // below
    SCOPED_TRACE(mode);
    std::vector<int32_t> out(64);
    const auto codes = CodesOf(Divergent, {.grid = {1}, .block = {64}}, {in, out.data(), 1, mode},
                               [&] { EXPECT_NE(emulator::LastError(), ""); });
    EXPECT_EQ(codes, std::set<int>{emulator::kKernelError});
    EXPECT_NE(emulator::LastError().find(expected[mode]), std::string::npos)
        << emulator::LastError();
  }
}

SIMT_KERNEL(256) WarpFunctions(Params p) {
  const auto lane = static_cast<int32_t>(Lane());
  SIMT_SHARED(scratch, Array<int32_t, 32>);
  bool right = ShflXor(lane, 5) == (lane ^ 5);
  right = right && Shfl(lane * 2, 7) == 14;
  right = right && ShflDown(lane, 3) == (lane < 29 ? lane + 3 : lane);
  right = right && ShflUp(lane, 3) == (lane < 3 ? lane : lane - 3);
  right = right && Ballot(lane % 2 == 1) == 0xAAAAAAAAU;
  right = right && Shfl(1.5 + lane, 31) == 32.5;
  if (lane >= 8) right = right && Ballot(true, 0xFFFFFF00U) == 0xFFFFFF00U;
  const int32_t sum = BlockReduce(lane, &scratch[0], AddOperation{});
  right = right && sum == 496 * static_cast<int32_t>(BlockDimX() / 32);
  if (right) AtomicAdd(p.out, 1);
  AtomicMax(p.out + 1, lane);
}

TEST(Emulator, ABlockThatSpinsIsEnded) {
  int32_t never = 0;
  EXPECT_EQ(Launch(Divergent, {.grid = {1}, .block = {32}}, nullptr, {nullptr, &never, 0, 5}),
            emulator::kKernelError);
  EXPECT_NE(emulator::LastError().find("no progress"), std::string::npos);
}

TEST(Emulator, WarpFunctionsAndAtomics) {
  std::vector<int32_t> out(2);
  const auto codes =
      CodesOf(WarpFunctions, {.grid = {3, 2}, .block = {96}}, {nullptr, out.data(), 0, 0}, [&] {
        EXPECT_EQ(out, (std::vector<int32_t>{576, 31}));
        out = {0, 0};
      });
  EXPECT_EQ(codes, std::set<int>{0}) << emulator::LastError();
}

SIMT_KERNEL(32) Copies(Params p) {
  SIMT_SHARED(places, Array<Vec<int32_t, 4>, 64>);
  for (int i = 0; i < 2; ++i) {
    CopyAsync16(&places[32 * i + static_cast<int>(Lane())], p.in + 4 * Lane() + 128 * i,
                Lane() < 30);
    CommitCopies();
  }
  if (p.mode == 0) {
    WaitCopies<1>();
  }
  SyncWarp();
  StoreVec<int32_t, 4>(p.out + 4 * Lane(), places[31 - static_cast<int>(Lane())]);
  WaitCopies<0>();
}

TEST(Emulator, CopiesArriveWhenWaitedFor) {
  alignas(16) int32_t in[256];
  std::iota(in, in + 256, 0);
  for (int mode = 0; mode < (kRaceDetector ? 1 : 2); ++mode) {
    alignas(16) int32_t out[128];
    const auto codes = CodesOf(Copies, {.grid = {1}, .block = {32}}, {in, out, 0, mode}, [&] {
      int early = 0;
      for (int i = 0; i < 128; ++i) {
        const int expected = 4 * (31 - i / 4) + i % 4;
        early += out[i] == -1;
        if (mode == 0) {
          ASSERT_EQ(out[i], expected < 120 ? expected : 0);
        }
      }
      EXPECT_EQ(early > 0, mode == 1);
    });
    EXPECT_EQ(codes, std::set<int>{0}) << emulator::LastError();
  }
}

TEST(Emulator, RefusesGridsNoDeviceTakes) {
  int32_t out[2] = {};
  const Params params{nullptr, out, 0, 0};
  EXPECT_EQ(Launch(WarpFunctions, {.grid = {0}, .block = {32}}, nullptr, params), kBadArguments);
  EXPECT_EQ(Launch(WarpFunctions, {.grid = {1}, .block = {1025}}, nullptr, params), kBadArguments);
  EXPECT_EQ(
      Launch(WarpFunctions, {.grid = {1}, .block = {32}, .shared_bytes = 1 << 20}, nullptr, params),
      kBadArguments);
}

}  // namespace
}  // namespace inferd::cuda
