#include "backends/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "inferd/base/check.h"

namespace inferd {
namespace {

constexpr int kChunkBits = 24;
constexpr uint64_t kChunkMask = (uint64_t{1} << kChunkBits) - 1;
// Longer than the gap between two ops of a step, shorter than anyone notices.
constexpr std::chrono::microseconds kSpin{40};

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready()`, for at most kSpin; what it was last.
template <class Ready>
bool SpinUntil(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return ready();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < std::max(1, threads); ++i) {
    workers_.emplace_back([this, i] { WorkerLoop(i); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_workers_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(const Job& job) {
  const int64_t chunks = (job.tasks + job.chunk - 1) / job.chunk;
  INFERD_CHECK(job.chunk > 0 && static_cast<uint64_t>(chunks) < kChunkMask / 2);
  const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> kChunkBits) + 1;
  ticket_.store(number << kChunkBits, std::memory_order_relaxed);  // odd: closed
  function_.store(job.function, std::memory_order_release);
  body_.store(job.body, std::memory_order_release);
  tasks_.store(job.tasks, std::memory_order_release);
  chunk_.store(job.chunk, std::memory_order_release);
  chunks_.store(chunks, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);  // nobody holds a chunk here
  ticket_.store((number + 1) << kChunkBits, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) > 0) {
    // The lock: a worker between its last look and its wait must not miss this.
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_workers_.notify_all();
  }

  Help(0);
  const auto finished = [&] { return done_.load(std::memory_order_seq_cst) == chunks; };
  if (SpinUntil(finished)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeping_.store(true, std::memory_order_seq_cst);
  wake_caller_.wait(lock, finished);
  caller_sleeping_.store(false, std::memory_order_relaxed);
}

bool ThreadPool::Help(int thread) {
  bool helped = false;
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (((ticket >> kChunkBits) & 1) == 0) {
    const auto index = static_cast<int64_t>(ticket & kChunkMask);
    const Function function = function_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    const int64_t tasks = tasks_.load(std::memory_order_acquire);
    const int64_t chunk = chunk_.load(std::memory_order_acquire);
    const int64_t chunks = chunks_.load(std::memory_order_acquire);
    if (index >= chunks) break;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    helped = true;
    function(body, index * chunk, std::min(tasks, (index + 1) * chunk), thread);
    if (done_.fetch_add(1, std::memory_order_seq_cst) + 1 == chunks &&
        caller_sleeping_.load(std::memory_order_seq_cst)) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_caller_.notify_one();
    }
    ticket = ticket_.load(std::memory_order_acquire);
  }
  return helped;
}

bool ThreadPool::HasWork() const {
  const uint64_t ticket = ticket_.load(std::memory_order_seq_cst);
  return ((ticket >> kChunkBits) & 1) == 0 &&
         static_cast<int64_t>(ticket & kChunkMask) < chunks_.load(std::memory_order_acquire);
}

void ThreadPool::WorkerLoop(int thread) {
  const auto ready = [this] { return stop_.load(std::memory_order_relaxed) || HasWork(); };
  while (!stop_.load(std::memory_order_relaxed)) {
    if (Help(thread)) continue;
    if (SpinUntil(ready)) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_workers_.wait(lock, ready);
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }
}

}  // namespace inferd
