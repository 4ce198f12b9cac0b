#include "server/worker_pool.h"

#include <algorithm>

namespace inferd {

WorkerPool::WorkerPool(int num_threads, size_t queue_capacity) : jobs_(queue_capacity) {
  for (int i = 0; i < std::max(num_threads, 1); ++i) {
    threads_.emplace_back([this] {
      while (auto job = jobs_.Pop()) (*job)();
    });
  }
}

WorkerPool::~WorkerPool() {
  jobs_.Close();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace inferd
