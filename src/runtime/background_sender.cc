#include "runtime/background_sender.h"

#include <pthread.h>

#include <utility>

namespace inferd::runtime {

BackgroundSender::BackgroundSender(Communicator& inner, size_t capacity)
    : CommunicatorDecorator(inner), capacity_(capacity), thread_([this] { Loop(); }) {}

BackgroundSender::~BackgroundSender() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  inner().Abort();
  thread_.join();
}

Status BackgroundSender::Send(std::span<const std::byte> data, int to) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !broken_.ok() || waiting_.size() < capacity_; });
  INFERD_RETURN_IF_ERROR(broken_);
  Message message;
  if (!spare_.empty()) {
    message.data = std::move(spare_.back());
    spare_.pop_back();
  }
  message.data.assign(data.begin(), data.end());
  message.to = to;
  waiting_.push_back(std::move(message));
  changed_.notify_all();
  return OkStatus();
}

void BackgroundSender::Loop() {
  (void)pthread_setname_np(pthread_self(), "inferd-send");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Message& message = waiting_.front();  // stays where it is: others are put behind it
    lock.unlock();
    Status status = inner().Send(message.data, message.to);
    lock.lock();
    if (!status.ok()) {
      broken_ = std::move(status);
      changed_.notify_all();
      return;
    }
    spare_.push_back(std::move(message.data));
    waiting_.pop_front();
    changed_.notify_all();
  }
}

}  // namespace inferd::runtime
