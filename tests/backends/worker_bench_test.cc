#include "backends/cpu/worker_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace inferd {
namespace {

constexpr int64_t kMs = 1'000'000;

// Jobs of one caller and its workers on simulated cores, in simulated time.
class Simulation {
 public:
  explicit Simulation(int workers) : bench(workers) {}

  // A job that takes a thread alone 0.6 ms. `stalls`: worker 0 loses its core in it.
  void Step(bool stalls) {
    bench.Recall(now_ns);
    constexpr int64_t kAlone = 6 * kMs / 10;
    const int threads = bench.active() + 1;
    const bool stalled = stalls && bench.active() > 0 && bench.active(0);
    WorkerBench::Job job;
    const int64_t own = kAlone / threads;
    job.helped_ns = kAlone - own;
    job.wait_ns = bench.active() == 0 ? 0 : stalled ? 3 * kMs : own / 50;
    job.last_worker = bench.active() == 0 ? -1 : stalled ? 0 : bench.active() - 1;
    now_ns += own + job.wait_ns;
    job.now_ns = now_ns;
    alone_ns += kAlone;
    if (bench.active() > 0) bench.Record(job);
  }

  // For `ms` of time, worker 0 on a core it has for 3 ms and loses for 3 ms; its speed
  // against one thread on its own.
  double RunShared(int64_t ms) {
    const int64_t end = now_ns + ms * kMs;
    const int64_t start = now_ns;
    alone_ns = 0;
    int64_t slice_end = now_ns + 3 * kMs;
    while (now_ns < end) {
      const bool stalls = now_ns >= slice_end;
      Step(stalls);
      if (stalls) slice_end = now_ns + 3 * kMs;
    }
    return static_cast<double>(alone_ns) / static_cast<double>(now_ns - start);
  }

  WorkerBench bench;
  int64_t now_ns = 0;
  int64_t alone_ns = 0;
};

TEST(WorkerBenchTest, KeepsWorkersThatHelp) {
  Simulation s(3);
  for (int i = 0; i < 100'000; ++i) s.Step(false);
  EXPECT_EQ(s.bench.active(), 3);
  EXPECT_EQ(s.bench.next_recall_ns(), std::numeric_limits<int64_t>::max());
}

TEST(WorkerBenchTest, ForgivesRareStalls) {
  Simulation s(1);
  int away = 0;
  for (int i = 0; i < 10'000; ++i) {
    s.Step(i % 200 == 199);  // one in about 60 ms
    if (s.bench.active() == 0) ++away;
  }
  EXPECT_EQ(away, 0);
}

TEST(WorkerBenchTest, SendsAStallingWorkerAwayAtOnceInATry) {
  Simulation s(1);
  s.Step(false);
  s.Step(true);
  EXPECT_EQ(s.bench.active(), 0);
  EXPECT_EQ(s.bench.next_recall_ns(), s.now_ns + WorkerBench::kFirstLeaveNs);
}

TEST(WorkerBenchTest, ShortWaitsAreNoStalls) {
  WorkerBench bench(1);
  for (int64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(bench.Record({i * 1000, WorkerBench::kStallNs - 1, 0, 0}), -1);
  }
  EXPECT_EQ(bench.Record({1'000'000, WorkerBench::kStallNs, 0, 0}), 0);
}

TEST(WorkerBenchTest, TheCallersOwnStallsBlameNobody) {
  WorkerBench bench(2);
  EXPECT_EQ(bench.Record({3 * kMs, 3 * kMs, 0, -1}), -1);
  EXPECT_EQ(bench.active(), 2);
}

TEST(WorkerBenchTest, LeavesDoubleUpToALimit) {
  WorkerBench bench(1);
  int64_t now = 0;
  int64_t leave = WorkerBench::kFirstLeaveNs;
  for (int i = 0; i < 12; ++i) {
    now += 3 * kMs;
    ASSERT_EQ(bench.Record({now, 3 * kMs, 0, 0}), 0);
    ASSERT_EQ(bench.next_recall_ns(), now + leave);
    bench.Recall(now + leave - 1);
    ASSERT_FALSE(bench.active(0));
    now += leave;
    bench.Recall(now);
    ASSERT_TRUE(bench.active(0));
    leave = std::min(2 * leave, WorkerBench::kLongestLeaveNs);
  }
  EXPECT_EQ(leave, WorkerBench::kLongestLeaveNs);
}

TEST(WorkerBenchTest, GoodServiceShortensTheNextLeave) {
  WorkerBench bench(1);
  int64_t now = 0;
  for (int i = 0; i < 3; ++i) {
    bench.Record({now, 3 * kMs, 0, 0});
    now = bench.next_recall_ns();
    bench.Recall(now);
  }
  // The next would be 8 first leaves; three times trusted, it is one.
  for (int i = 0; i < 3 * WorkerBench::kTrustNs / kMs + 100; ++i) {
    now += kMs;
    bench.Record({now, 0, kMs, 0});
  }
  while (bench.active(0)) bench.Record({now, 3 * kMs, 0, 0});
  EXPECT_EQ(bench.next_recall_ns(), now + WorkerBench::kFirstLeaveNs);
}

TEST(WorkerBenchTest, OnlyTheStallingWorkerGoes) {
  Simulation s(7);
  for (int i = 0; i < 100; ++i) s.Step(false);
  for (int i = 0; i < 10; ++i) s.Step(true);
  EXPECT_EQ(s.bench.active(), 6);
  EXPECT_FALSE(s.bench.active(0));
}

TEST(WorkerBenchTest, NearlyKeepsTheSpeedOfOneThreadOnASharedCore) {
  Simulation s(1);
  EXPECT_GT(s.RunShared(1000), 0.93);
  EXPECT_GT(s.RunShared(10'000), 0.98);  // leaves are long by now
}

TEST(WorkerBenchTest, ComesBackWhenTheNeighbourIsGone) {
  Simulation s(1);
  s.RunShared(10'000);
  const int64_t gone = s.now_ns;
  while (s.bench.active() == 0) s.Step(false);
  EXPECT_LE(s.now_ns - gone, WorkerBench::kLongestLeaveNs + kMs);
  for (int i = 0; i < 10'000; ++i) s.Step(false);
  EXPECT_EQ(s.bench.active(), 1);
}

TEST(WorkerBenchTest, NoWorkersAtAll) {
  WorkerBench bench(0);
  EXPECT_EQ(bench.active(), 0);
  bench.Recall(1000 * kMs);
  EXPECT_EQ(bench.Record({1000 * kMs, 0, 0, -1}), -1);
}

}  // namespace
}  // namespace inferd
