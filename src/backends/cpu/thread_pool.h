// Fixed threads that share the tasks of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace inferd {

// ParallelFor may be called by one thread at a time, which takes part. Tasks are
// claimed in chunks from a shared counter, and the caller waits only for chunks
// that were claimed: a worker that does not get a core delays nothing but what it
// holds. Idle workers spin for a moment, then sleep.
class ThreadPool {
 public:
  // `threads` counts the caller; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) over [0, tasks) in ranges of at most `chunk`,
  // with thread in [0, threads()). `body` must not throw. Never allocates.
  template <class Body>
  void ParallelFor(int64_t tasks, int64_t chunk, const Body& body) {
    if (tasks <= 0) return;
    if (workers_.empty() || tasks <= chunk) {
      body(int64_t{0}, tasks, 0);
      return;
    }
    Run({&Call<Body>, &body, tasks, chunk});
  }

 private:
  using Function = void (*)(const void* body, int64_t begin, int64_t end, int thread);
  struct Job {
    Function function = nullptr;
    const void* body = nullptr;
    int64_t tasks = 0;
    int64_t chunk = 1;
  };
  template <class Body>
  static void Call(const void* body, int64_t begin, int64_t end, int thread) {
    (*static_cast<const Body*>(body))(begin, end, thread);
  }

  void Run(const Job& job);
  void WorkerLoop(int thread);
  // Claims and runs chunks of the current job until none is left; whether there
  // was any.
  bool Help(int thread);
  bool HasWork() const;

  // ticket_ = (job number, next chunk). Odd job numbers: the fields below are
  // being replaced. A field is read between loading a ticket and claiming with
  // it; the claim fails if the fields changed in between, because the writer
  // advances the ticket before it stores (release) a field.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<Function> function_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<int64_t> tasks_{0};
  std::atomic<int64_t> chunk_{1};
  std::atomic<int64_t> chunks_{0};
  alignas(64) std::atomic<int64_t> done_{0};  // chunks finished

  alignas(64) std::atomic<int> sleeping_{0};  // workers
  std::atomic<bool> caller_sleeping_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_workers_;
  std::condition_variable wake_caller_;
  std::vector<std::thread> workers_;
};

}  // namespace inferd
