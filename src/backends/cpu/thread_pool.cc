#include "backends/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <string>

#include "inferd/base/check.h"

namespace inferd {
namespace {

constexpr int kTaskBits = 32;
constexpr uint64_t kTaskMask = (uint64_t{1} << kTaskBits) - 1;
// Longer than the gap between two ops of a step, shorter than anyone notices.
constexpr int64_t kSpinNs = 40'000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A wish: the core may be gone since it was chosen.
void PinThisThread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace

ThreadPool::ThreadPool(const ThreadPoolOptions& options, const Clock& clock)
    : clock_(clock),
      bench_(options.threads - 1),
      active_(static_cast<size_t>(std::max(0, options.threads - 1))) {
  for (std::atomic<bool>& active : active_) active.store(true, std::memory_order_relaxed);
  try {
    for (int i = 1; i < options.threads; ++i) {
      const int core = options.cores.empty() ? -1 : options.cores[(i - 1) % options.cores.size()];
      workers_.emplace_back([this, i, core] {
        (void)pthread_setname_np(pthread_self(), ("inferd-cpu" + std::to_string(i)).c_str());
        if (core >= 0) PinThisThread(core);
        WorkerLoop(i);
      });
    }
  } catch (...) {
    Stop();  // those that did start
    throw;
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_workers_.notify_all();
  wake_benched_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Spins until `ready()`, for at most kSpinNs; what it was last.
template <class Ready>
bool ThreadPool::SpinUntil(const Ready& ready) const {
  const int64_t deadline = clock_.NowNs() + kSpinNs;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (clock_.NowNs() < deadline);
  return ready();
}

bool ThreadPool::Together() {
  if (bench_.active() < static_cast<int>(workers_.size()) &&
      clock_.NowNs() >= bench_.next_recall_ns()) {
    bench_.Recall(clock_.NowNs());
    for (int i = 0; i + 1 < threads(); ++i) SetActive(i, bench_.active(i));
  }
  return bench_.active() > 0;
}

void ThreadPool::SetActive(int worker, bool active) {
  std::atomic<bool>& flag = active_[static_cast<size_t>(worker)];
  if (flag.load(std::memory_order_relaxed) == active) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    flag.store(active, std::memory_order_relaxed);
  }
  if (active) wake_benched_.notify_all();
}

void ThreadPool::Run(const Job& job) {
  INFERD_CHECK(job.grain > 0 && static_cast<uint64_t>(job.tasks) < kTaskMask / 2);
  const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> kTaskBits) + 1;
  ticket_.store(number << kTaskBits, std::memory_order_relaxed);  // odd: closed
  function_.store(job.function, std::memory_order_release);
  body_.store(job.body, std::memory_order_release);
  tasks_.store(job.tasks, std::memory_order_release);
  grain_.store(job.grain, std::memory_order_release);
  shares_.store(2 * (int64_t{bench_.active()} + 1), std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);  // nobody holds a range here
  last_thread_.store(0, std::memory_order_relaxed);
  ticket_.store((number + 1) << kTaskBits, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) > 0) {
    // The lock: a worker between its last look and its wait must not miss this.
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_workers_.notify_all();
  }

  Share own;
  int64_t before = clock_.NowNs();
  for (;;) {
    const Range range = Help(0);
    if (range.empty()) break;
    const int64_t now = clock_.NowNs();
    const int64_t count = range.end - range.begin;
    const double task_ns = static_cast<double>(now - before) / static_cast<double>(count);
    own.task_ns = own.tasks == 0 ? task_ns : std::min(own.task_ns, task_ns);
    own.tasks += count;
    before = now;
  }
  const auto finished = [&] { return done_.load(std::memory_order_seq_cst) == job.tasks; };
  if (!SpinUntil(finished)) {
    std::unique_lock<std::mutex> lock(mutex_);
    caller_sleeping_.store(true, std::memory_order_seq_cst);
    wake_caller_.wait(lock, finished);
    caller_sleeping_.store(false, std::memory_order_relaxed);
  }
  Judge(job, own, before);
}

void ThreadPool::Judge(const Job& job, const Share& own, int64_t own_end_ns) {
  if (own.tasks == 0) return;  // the caller came too late to judge anybody
  WorkerBench::Job report;
  report.now_ns = own_end_ns;
  report.helped_ns = static_cast<int64_t>(static_cast<double>(job.tasks - own.tasks) * own.task_ns);
  const int last = last_thread_.load(std::memory_order_relaxed);
  if (last > 0) {
    report.last_worker = last - 1;
    // Until it was done, not until the caller saw it, and without what its range may
    // take: tasks are not all equal.
    const double fair_ns =
        2 * static_cast<double>(last_tasks_.load(std::memory_order_relaxed)) * own.task_ns;
    const int64_t wait_ns = last_ns_.load(std::memory_order_relaxed) - own_end_ns;
    report.wait_ns = std::max<int64_t>(0, wait_ns - static_cast<int64_t>(fair_ns));
    report.now_ns += std::max<int64_t>(0, wait_ns);
  }
  const int benched = bench_.Record(report);
  if (benched >= 0) SetActive(benched, false);
}

ThreadPool::Range ThreadPool::Help(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (((ticket >> kTaskBits) & 1) == 0) {
    const auto begin = static_cast<int64_t>(ticket & kTaskMask);
    const Function function = function_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    const int64_t tasks = tasks_.load(std::memory_order_acquire);
    const int64_t grain = grain_.load(std::memory_order_acquire);
    const int64_t shares = shares_.load(std::memory_order_acquire);
    if (begin >= tasks) break;
    // Large pieces first; the small ones at the end let all finish together.
    const int64_t left = tasks - begin;
    const int64_t count = std::min(left, std::max(grain, left / shares));
    if (!ticket_.compare_exchange_weak(ticket, ticket + static_cast<uint64_t>(count),
                                       std::memory_order_acq_rel, std::memory_order_acquire)) {
      continue;
    }
    function(body, begin, begin + count, thread);
    if (done_.load(std::memory_order_relaxed) + count == tasks) {
      // Nobody else is at it. Two that finish at once sign neither, and no harm done.
      last_ns_.store(thread == 0 ? 0 : clock_.NowNs(), std::memory_order_relaxed);
      last_tasks_.store(count, std::memory_order_relaxed);
      last_thread_.store(thread, std::memory_order_relaxed);
    }
    if (done_.fetch_add(count, std::memory_order_seq_cst) + count == tasks &&
        caller_sleeping_.load(std::memory_order_seq_cst)) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_caller_.notify_one();
    }
    return {begin, begin + count};
  }
  return {};
}

bool ThreadPool::HasWork() const {
  const uint64_t ticket = ticket_.load(std::memory_order_seq_cst);
  return ((ticket >> kTaskBits) & 1) == 0 &&
         static_cast<int64_t>(ticket & kTaskMask) < tasks_.load(std::memory_order_acquire);
}

void ThreadPool::WorkerLoop(int thread) {
  const std::atomic<bool>& active = active_[static_cast<size_t>(thread - 1)];
  const auto stopping = [this] { return stop_.load(std::memory_order_relaxed); };
  const auto benched = [&] { return !active.load(std::memory_order_relaxed); };
  const auto ready = [&] { return stopping() || benched() || HasWork(); };
  while (!stopping()) {
    if (benched()) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_benched_.wait(lock, [&] { return stopping() || !benched(); });
      continue;
    }
    if (!Help(thread).empty()) continue;
    if (SpinUntil(ready)) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_workers_.wait(lock, ready);
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }
}

}  // namespace inferd
