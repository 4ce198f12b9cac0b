#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "inferd/base/bounded_queue.h"

namespace inferd {

// A few threads that run jobs from a bounded queue. Thread-safe. Jobs must not
// throw. The destructor runs what is still queued, then joins.
class WorkerPool {
 public:
  WorkerPool(int num_threads, size_t queue_capacity);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False when the queue is full. Never waits.
  bool TryRun(std::function<void()> job) { return jobs_.TryPush(std::move(job)); }
  size_t queued() const { return jobs_.size(); }

 private:
  BoundedQueue<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace inferd
