#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "backends/cpu/thread_pool.h"
#include "inferd/ops/load_threads.h"

namespace inferd {

// The pool, lent to whoever decodes weights for it. The pool outlives it.
class PoolThreads final : public LoadThreads {
 public:
  explicit PoolThreads(ThreadPool& pool) : pool_(pool) {}

  int count() const override { return pool_.threads(); }
  // An exception of a task is RESOURCE_EXHAUSTED.
  Status Run(int64_t tasks, const std::function<Status(int64_t task)>& body) override {
    std::atomic<bool> failed{false};
    std::mutex mutex;
    Status first;  // guarded by mutex
    const auto run = [&](int64_t task) {
      try {
        return body(task);
      } catch (const std::exception& e) {
        return ResourceExhaustedError(std::string("loading weights: ") + e.what());
      }
    };
    pool_.ParallelFor(tasks, 1, [&](int64_t begin, int64_t end, int /*thread*/) {
      for (int64_t task = begin; task < end && !failed.load(); ++task) {
        Status status = run(task);
        if (status.ok()) continue;
        failed.store(true);
        const std::lock_guard lock(mutex);
        if (first.ok()) first = std::move(status);
      }
    });
    return first;
  }

 private:
  ThreadPool& pool_;
};

}  // namespace inferd
