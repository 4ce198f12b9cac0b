#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "inferd/ops/load_threads.h"

namespace inferd {

// Threads that live as long as a load. All of them do one work at a time; they call no runtime.
// One thread uses it, the rank's.
class LoadPool final : public LoadThreads {
 public:
  // Null where fewer than two threads can be had.
  static std::unique_ptr<LoadPool> Create(int threads);
  ~LoadPool() override;  // no work is under way
  LoadPool(const LoadPool&) = delete;
  LoadPool& operator=(const LoadPool&) = delete;

  int count() const override { return static_cast<int>(threads_.size()); }
  // An exception of a task is RESOURCE_EXHAUSTED.
  Status Run(int64_t tasks, const std::function<Status(int64_t task)>& body) override;

  // Each thread calls `work` once, which does not throw and outlives End.
  void Begin(const std::function<void()>& work);
  // Until all have.
  void End();

 private:
  LoadPool() = default;
  void Loop();

  std::mutex mutex_;
  std::condition_variable begun_;
  std::condition_variable ended_;
  // ---- guarded by mutex_ ----
  const std::function<void()>* work_ = nullptr;
  uint64_t number_ = 0;  // of works begun
  size_t left_ = 0;      // threads that have not done it
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

// `made`, or what an exception of it was.
Status CatchAll(const std::function<Status()>& made);

}  // namespace inferd
