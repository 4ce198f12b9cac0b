// One network thread: epoll, tasks posted to it, timers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd::net {

// Everything but Post, Stop and InThread belongs to the loop's own thread.
class EventLoop {
 public:
  // Told when a descriptor may have become readable or writable (edge-triggered:
  // told once per change, so whoever listens remembers it).
  class Source {
   public:
    virtual void OnReady(int fd, uint32_t epoll_events) = 0;

   protected:
    ~Source() = default;
  };

  // UNAVAILABLE when out of descriptors or threads. `index` names the thread.
  static StatusOr<std::shared_ptr<EventLoop>> Start(int index);
  ~EventLoop();
  // Ends the thread and drops what was posted and not yet run. Not from the thread.
  void Stop();

  // Runs `task` on the thread, in order of posting; dropped once stopped.
  void Post(std::function<void()> task);
  bool InThread() const { return std::this_thread::get_id() == thread_id_.load(); }

  // False when the kernel has no room for one more.
  bool Watch(int fd, Source* source);
  // Another source hears of `fd` from now on.
  void SetSource(int fd, Source* source);
  // Before the descriptor is closed.
  void Unwatch(int fd);

  int64_t NowMs() const { return clock_.NowUs() / 1000; }
  // Room for one read, for use within one callback.
  std::span<uint8_t> scratch() { return scratch_; }

 private:
  friend class Timer;
  struct Slot {
    Source* source = nullptr;
    uint32_t generation = 0;
  };
  using Timers = std::multimap<int64_t, class Timer*>;

  EventLoop() = default;
  void Run();
  void RunTasks();
  void RunTimers();
  int WaitMs() const;

  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_;
  SystemClock clock_;
  std::vector<Slot> slots_;  // by descriptor
  uint32_t next_generation_ = 0;
  Timers timers_;  // by due time, in ms
  std::array<uint8_t, 32 << 10> scratch_{};

  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;  // under mutex_
  bool stopped_ = false;                      // under mutex_
};

// Calls back once at a time. Moving the time later costs nothing until the earlier
// one comes. Lives and dies on the loop's thread.
class Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> callback)
      : loop_(loop), callback_(std::move(callback)) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Disarm(); }
  void SetAt(int64_t due_ms);
  void SetAfter(int64_t delay_ms) { SetAt(loop_.NowMs() + delay_ms); }
  void Clear() { wanted_ = false; }

 private:
  friend class EventLoop;
  void Arm(int64_t due_ms);
  void Disarm();
  void Fire();

  EventLoop& loop_;
  std::function<void()> callback_;
  bool wanted_ = false;
  int64_t due_ms_ = 0;
  bool armed_ = false;
  EventLoop::Timers::iterator place_;
};

}  // namespace inferd::net
