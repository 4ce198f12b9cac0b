#include "backends/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace inferd {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t chunk : {1, 3, 64}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
        std::atomic<bool> in_range{true};
        pool.ParallelFor(tasks, chunk, [&](int64_t begin, int64_t end, int thread) {
          if (thread < 0 || thread >= threads) in_range = false;
          for (int64_t i = begin; i < end; ++i) seen[i].fetch_add(1);
        });
        for (const auto& count : seen) EXPECT_EQ(count.load(), 1);
        EXPECT_TRUE(in_range.load());
      }
    }
  }
}

TEST(ThreadPoolTest, WritesOfTasksAreVisibleAfterwards) {
  ThreadPool pool(4);
  std::vector<int64_t> values(777);
  for (int round = 0; round < 2000; ++round) {
    // Plain memory: a missing happens-before shows under the thread sanitizer.
    pool.ParallelFor(777, 10, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) values[i] += i;
    });
  }
  for (int64_t i = 0; i < 777; ++i) ASSERT_EQ(values[i], i * 2000);
}

TEST(ThreadPoolTest, JobsOfDifferentShapesFollowEachOther) {
  ThreadPool pool(3);
  int64_t total = 0;
  for (int64_t n = 1; n < 400; ++n) {
    std::vector<int64_t> out(static_cast<size_t>(n));
    const int64_t factor = n;
    pool.ParallelFor(n, 1 + n % 5, [&out, factor](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) out[i] = i * factor;
    });
    total += std::accumulate(out.begin(), out.end(), int64_t{0}) - n * n * (n - 1) / 2;
  }
  EXPECT_EQ(total, 0);
}

TEST(ThreadPoolTest, SleepingWorkersWakeUp) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    // Longer than the spin: the workers are asleep, in any interleaving.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> count{0};
    pool.ParallelFor(100, 1, [&](int64_t, int64_t, int) { count.fetch_add(1); });
    EXPECT_EQ(count.load(), 100);
  }
}

TEST(ThreadPoolTest, TheCallerSleepsUntilASlowWorkerIsDone) {
  ThreadPool pool(2);
  std::atomic<bool> worker_took_one{false};
  std::atomic<int> finished{0};
  pool.ParallelFor(2, 1, [&](int64_t, int64_t, int thread) {
    if (thread == 0) {
      // Leaves the other task to the worker.
      while (!worker_took_one.load()) std::this_thread::yield();
    } else {
      worker_took_one = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    finished.fetch_add(1);
  });
  EXPECT_EQ(finished.load(), 2);
}

TEST(ThreadPoolTest, MoreThreadsThanCoresFinish) {
  ThreadPool pool(16);
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 50; ++round) {
    pool.ParallelFor(200, 1, [&](int64_t begin, int64_t, int) { sum.fetch_add(begin); });
  }
  EXPECT_EQ(sum.load(), 50 * 199 * 100);
}

}  // namespace
}  // namespace inferd
