#include "backends/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace inferd {
namespace {

const SystemClock clock;

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool({threads, {}}, clock);
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

TEST(ThreadPoolTest, RangesAreNoSmallerThanTheGrain) {
  ThreadPool pool({3, {}}, clock);
  std::atomic<int> small{0};
  for (int round = 0; round < 100; ++round) {
    pool.ParallelFor(1000, 64, [&](int64_t begin, int64_t end, int) {
      if (end - begin < 64 && end != 1000) small.fetch_add(1);
    });
  }
  EXPECT_EQ(small.load(), 0);
}

TEST(ThreadPoolTest, WritesOfTasksAreVisibleAfterwards) {
  ThreadPool pool({4, {}}, clock);
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
  ThreadPool pool({3, {}}, clock);
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
  ThreadPool pool({3, {}}, clock);
  for (int round = 0; round < 5; ++round) {
    // Longer than the spin: the workers are asleep, in any interleaving.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> count{0};
    pool.ParallelFor(100, 1, [&](int64_t begin, int64_t end, int) {
      count.fetch_add(static_cast<int>(end - begin));
    });
    EXPECT_EQ(count.load(), 100);
  }
}

TEST(ThreadPoolTest, TheCallerSleepsUntilASlowWorkerIsDone) {
  ThreadPool pool({2, {}}, clock);
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
  ThreadPool pool({16, {}}, clock);
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 50; ++round) {
    pool.ParallelFor(200, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) sum.fetch_add(i);
    });
  }
  EXPECT_EQ(sum.load(), 50 * 199 * 100);
}

TEST(ThreadPoolTest, PinnedWorkersStayOnTheirCores) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<size_t>(core), &allowed)) cores.push_back(core);
  }
  ThreadPool pool({4, cores}, clock);
  std::atomic<int> elsewhere{0};
  for (int round = 0; round < 100; ++round) {
    pool.ParallelFor(100, 1, [&](int64_t, int64_t, int thread) {
      if (thread == 0) return;
      const int core = cores[static_cast<size_t>(thread - 1) % cores.size()];
      if (sched_getcpu() != core) elsewhere.fetch_add(1);
    });
  }
  EXPECT_EQ(elsewhere.load(), 0);
}

// Moves when told to, and shows workers a later time than the caller: whoever of them
// finishes a job seems to have kept the caller waiting.
class StallingClock final : public Clock {
 public:
  int64_t NowUs() const override { return NowNs() / 1000; }
  int64_t UnixUs() const override { return NowUs(); }
  int64_t NowNs() const override {
    const bool caller = std::this_thread::get_id() == caller_;
    return now_ns_.load() + (caller ? 0 : stall_ns_);
  }
  void Advance(int64_t ns) { now_ns_.fetch_add(ns); }

  static constexpr int64_t stall_ns_ = 3'000'000;

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<int64_t> now_ns_{1};
};

TEST(ThreadPoolTest, AStallingWorkerIsLeftOutAndTriedAgain) {
  StallingClock stalling;
  ThreadPool pool({2, {}}, stalling);
  // Two tasks, one for each thread; the worker finishes last. Whether the caller was
  // alone.
  const auto run = [&] {
    std::atomic<bool> worker_took_one{false};
    std::atomic<bool> caller_done{false};
    bool alone = false;
    pool.ParallelFor(2, 1, [&](int64_t begin, int64_t end, int thread) {
      if (end - begin == 2) {
        alone = true;
      } else if (thread == 0) {
        while (!worker_took_one.load()) std::this_thread::yield();
        caller_done = true;
      } else {
        worker_took_one = true;
        while (!caller_done.load()) std::this_thread::yield();
        // Lets the caller count its task before this one.
        for (int i = 0; i < 20; ++i) std::this_thread::yield();
      }
    });
    return alone;
  };
  for (int64_t leave = 10'000'000; leave < 100'000'000; leave *= 2) {
    // The caller may count its task last; then the next job shows the stall.
    while (!run()) {
    }
    EXPECT_TRUE(run());  // time stands still: still left out
    stalling.Advance(leave + StallingClock::stall_ns_);
    EXPECT_FALSE(run());
  }
}

TEST(ThreadPoolTest, SumsDoNotDependOnTheNumberOfThreads) {
  constexpr int64_t kTasks = 500;
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool({threads, {}}, clock);
    std::vector<float> out(kTasks);
    pool.ParallelFor(kTasks, 3, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = 0;
        for (int j = 1; j < 200; ++j) sum += 1.0F / static_cast<float>(i + j);
        out[i] = sum;
      }
    });
    results.push_back(out);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace inferd
