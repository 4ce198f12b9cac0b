#include "net/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <system_error>

namespace inferd::net {
namespace {

constexpr int64_t kMaxWaitMs = 60'000;

uint64_t Pack(int fd, uint32_t generation) {
  return static_cast<uint64_t>(generation) << 32 | static_cast<uint32_t>(fd);
}

}  // namespace

StatusOr<std::shared_ptr<EventLoop>> EventLoop::Start(int index) {
  std::shared_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->epoll_ || !loop->wake_) return UnavailableError("no descriptors for a network thread");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = Pack(loop->wake_.get(), 0);
  if (::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) {
    return UnavailableError("epoll_ctl failed");
  }
  // Signals are the main thread's; SIGPIPE, which writing to a closed socket raises
  // in the writer, is blocked with the others.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    loop->thread_ = std::thread([raw = loop.get()] { raw->Run(); });
  } catch (const std::system_error&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return UnavailableError("cannot start a network thread");
  }
  loop->thread_id_ = loop->thread_.get_id();
  const std::string name = "net-" + std::to_string(index);
  pthread_setname_np(loop->thread_.native_handle(), name.substr(0, 15).c_str());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return loop;
}

EventLoop::~EventLoop() { Stop(); }

void EventLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
  std::vector<std::function<void()>> dropped;
  {
    std::lock_guard lock(mutex_);
    dropped.swap(tasks_);
  }
}

void EventLoop::Post(std::function<void()> task) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    wake = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (wake && !InThread()) eventfd_write(wake_.get(), 1);
}

bool EventLoop::Watch(int fd, Source* source) {
  if (slots_.size() <= static_cast<size_t>(fd)) slots_.resize(static_cast<size_t>(fd) + 64);
  const uint32_t generation = ++next_generation_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = Pack(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  slots_[static_cast<size_t>(fd)] = {.source = source, .generation = generation};
  return true;
}

void EventLoop::SetSource(int fd, Source* source) {
  slots_[static_cast<size_t>(fd)].source = source;
}

void EventLoop::Unwatch(int fd) {
  if (static_cast<size_t>(fd) >= slots_.size()) return;
  Slot& slot = slots_[static_cast<size_t>(fd)];
  if (slot.source == nullptr) return;
  slot.source = nullptr;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

int EventLoop::WaitMs() const {
  if (timers_.empty()) return static_cast<int>(kMaxWaitMs);
  // One more: a wait may end within the millisecond it is due in.
  return static_cast<int>(std::clamp(timers_.begin()->first - NowMs() + 1, int64_t{0}, kMaxWaitMs));
}

void EventLoop::RunTasks() {
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (std::function<void()>& task : tasks) {
    task();
    task = nullptr;
  }
}

void EventLoop::RunTimers() {
  const int64_t now_ms = NowMs();
  while (!timers_.empty() && timers_.begin()->first <= now_ms) timers_.begin()->second->Fire();
}

void EventLoop::Run() {
  std::array<epoll_event, 256> events{};
  while (true) {
    bool tasks_wait = false;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      tasks_wait = !tasks_.empty();
    }
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   tasks_wait ? 0 : WaitMs());
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[static_cast<size_t>(i)].data.u64;
      const auto fd = static_cast<int>(static_cast<uint32_t>(data));
      if (fd == wake_.get()) {
        eventfd_t ignored = 0;
        eventfd_read(fd, &ignored);
        continue;
      }
      // The source may have gone, and the number been reused, since epoll_wait.
      const Slot slot = slots_[static_cast<size_t>(fd)];
      if (slot.source != nullptr && Pack(fd, slot.generation) == data) {
        slot.source->OnReady(fd, events[static_cast<size_t>(i)].events);
      }
    }
    RunTasks();
    RunTimers();
  }
}

void Timer::SetAt(int64_t due_ms) {
  wanted_ = true;
  due_ms_ = due_ms;
  if (armed_ && place_->first <= due_ms) return;
  Arm(due_ms);
}

void Timer::Arm(int64_t due_ms) {
  Disarm();
  place_ = loop_.timers_.emplace(due_ms, this);
  armed_ = true;
}

void Timer::Disarm() {
  if (armed_) loop_.timers_.erase(place_);
  armed_ = false;
}

void Timer::Fire() {
  Disarm();
  if (!wanted_) return;
  if (due_ms_ > loop_.NowMs()) return Arm(due_ms_);
  wanted_ = false;
  callback_();
}

}  // namespace inferd::net
