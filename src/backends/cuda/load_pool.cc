#include "backends/cuda/load_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

namespace inferd {

Status CatchAll(const std::function<Status()>& made) {
  try {
    return made();
  } catch (const std::exception& e) {
    return ResourceExhaustedError(std::string("loading weights: ") + e.what());
  }
}

std::unique_ptr<LoadPool> LoadPool::Create(int threads) {
  std::unique_ptr<LoadPool> pool(new LoadPool);
  try {
    pool->threads_.reserve(static_cast<size_t>(std::max(0, threads)));
    for (int i = 0; i < threads; ++i) {
      pool->threads_.emplace_back([p = pool.get()] { p->Loop(); });
    }
  } catch (const std::system_error&) {
    // Those that came are enough.
  }
  if (pool->threads_.size() < 2) pool.reset();
  return pool;
}

LoadPool::~LoadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  begun_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void LoadPool::Begin(const std::function<void()>& work) {
  {
    const std::lock_guard lock(mutex_);
    INFERD_CHECK(left_ == 0);
    work_ = &work;
    left_ = threads_.size();
    ++number_;
  }
  begun_.notify_all();
}

void LoadPool::End() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return left_ == 0; });
  work_ = nullptr;
}

void LoadPool::Loop() {
  (void)pthread_setname_np(pthread_self(), "inferd-load");
  std::unique_lock lock(mutex_);
  for (uint64_t done = 0;;) {
    begun_.wait(lock, [&] { return stopping_ || number_ != done; });
    if (number_ == done) return;
    done = number_;
    const std::function<void()>& work = *work_;
    lock.unlock();
    work();
    lock.lock();
    if (--left_ == 0) ended_.notify_all();
  }
}

Status LoadPool::Run(int64_t tasks, const std::function<Status(int64_t)>& body) {
  if (tasks == 1) return CatchAll([&] { return body(0); });
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  Status first;  // guarded by mutex
  const std::function<void()> work = [&] {
    for (int64_t task = next.fetch_add(1); task < tasks; task = next.fetch_add(1)) {
      Status status = CatchAll([&] { return body(task); });
      if (status.ok()) continue;
      next.store(tasks);
      const std::lock_guard lock(mutex);
      if (first.ok()) first = std::move(status);
    }
  };
  Begin(work);
  End();
  return first;
}

}  // namespace inferd
