// Fixed threads that share the tasks of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "backends/cpu/worker_bench.h"
#include "inferd/base/clock.h"

namespace inferd {

struct ThreadPoolOptions {
  int threads = 1;         // the caller counts
  std::vector<int> cores;  // where the workers are pinned, in turn; empty: nowhere
};

// ParallelFor may be called by one thread at a time, which takes part. Tasks are
// claimed from a shared counter, and the caller waits only for what was claimed: a
// worker that does not get a core delays nothing but what it holds. One that loses
// its core in the middle again and again is left out for a while (WorkerBench). Idle
// workers spin for a moment, then sleep.
class ThreadPool {
 public:
  // `clock` must move on its own and outlive the pool. Throws std::system_error when
  // there are no threads to be had.
  ThreadPool(const ThreadPoolOptions& options, const Clock& clock);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) over [0, tasks), in ranges of at least `grain`
  // tasks but for the last, with thread in [0, threads()). The ranges begin large and
  // end small; what they are differs from run to run. `body` must not throw. Never
  // allocates.
  template <class Body>
  void ParallelFor(int64_t tasks, int64_t grain, const Body& body) {
    if (tasks <= 0) return;
    if (tasks <= grain || !Together()) {
      body(int64_t{0}, tasks, 0);
      return;
    }
    Run({&Call<Body>, &body, tasks, grain});
  }

 private:
  using Function = void (*)(const void* body, int64_t begin, int64_t end, int thread);
  struct Job {
    Function function = nullptr;
    const void* body = nullptr;
    int64_t tasks = 0;
    int64_t grain = 1;
  };
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
    bool empty() const { return begin == end; }
  };
  // The caller's part in a job.
  struct Share {
    int64_t tasks = 0;
    double task_ns = 0;  // of the fastest range: one in which it kept its core
  };
  template <class Body>
  static void Call(const void* body, int64_t begin, int64_t end, int thread) {
    (*static_cast<const Body*>(body))(begin, end, thread);
  }

  // Whether any worker takes part now.
  bool Together();
  void Run(const Job& job);
  // Tells the bench how the job went.
  void Judge(const Job& job, const Share& own, int64_t own_end_ns);
  void Stop();
  void WorkerLoop(int thread);
  // Claims and runs one range of the current job; empty when none is left.
  Range Help(int thread);
  bool HasWork() const;
  void SetActive(int worker, bool active);
  template <class Ready>
  bool SpinUntil(const Ready& ready) const;

  const Clock& clock_;
  WorkerBench bench_;  // the caller's

  // ticket_ = (job number, next task). Odd job numbers: the fields below are
  // being replaced. A field is read between loading a ticket and claiming with
  // it; the claim fails if the fields changed in between, because the writer
  // advances the ticket before it stores (release) a field.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<Function> function_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<int64_t> tasks_{0};
  std::atomic<int64_t> grain_{1};
  std::atomic<int64_t> shares_{1};            // a range is at most this part of what is left
  alignas(64) std::atomic<int64_t> done_{0};  // tasks finished
  // Who finished the last of them, when, and how many they were.
  std::atomic<int> last_thread_{0};
  std::atomic<int64_t> last_ns_{0};
  std::atomic<int64_t> last_tasks_{0};

  alignas(64) std::atomic<int> sleeping_{0};  // workers between two jobs
  std::atomic<bool> caller_sleeping_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_workers_;
  std::condition_variable wake_benched_;
  std::condition_variable wake_caller_;
  std::vector<std::atomic<bool>> active_;  // by worker: false while it is left out
  std::vector<std::thread> workers_;
};

}  // namespace inferd
