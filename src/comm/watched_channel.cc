#include "comm/watched_channel.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace inferd {
namespace {

// How often the thread looks, by the machine's clock: the channel's may be moved by hand.
constexpr int64_t kLookUs = 50'000;
// A thread that was kept from running counts at most this from look to look.
constexpr int64_t kLongestLookUs = 4 * kLookUs;
constexpr int64_t kBeatsPerLimit = 5;
// An alert that cannot be sent so soon is not sent at all: who is sending is stuck.
constexpr int kAlertTries = 50;
constexpr std::chrono::milliseconds kAlertPause(2);
constexpr int64_t kAlertUs = 100'000;
// What may lie here until somebody receives it; there is one message more of any size.
constexpr size_t kMaxWaiting = 256;
constexpr size_t kMaxWaitingBytes = 16 << 20;
constexpr int64_t kLongestWaitUs = int64_t{1} << 50;

}  // namespace

WatchedChannel::WatchedChannel(std::unique_ptr<FramedChannel> channel, int64_t limit_us,
                               std::function<void()> on_alert, const Clock& clock)
    : channel_(std::move(channel)),
      limit_us_(limit_us),
      on_alert_(std::move(on_alert)),
      clock_(clock),
      next_beat_us_(clock.NowUs()),
      silence_(limit_us, kLongestLookUs, clock.NowUs()),
      thread_([this] { Watch(); }) {}

WatchedChannel::~WatchedChannel() {
  {
    const std::lock_guard lock(stop_mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

Status WatchedChannel::Send(uint32_t kind, std::span<const std::byte> payload) {
  if (kind >= kAlertKind) return InvalidArgumentError("this kind of message is the channel's");
  const std::lock_guard lock(send_mutex_);
  return channel_->Send(kind, payload);
}

StatusOr<HostMessage> WatchedChannel::Receive(int64_t timeout_us) {
  const std::lock_guard lock(receive_mutex_);
  if (!waiting_.empty()) {
    delivered_ = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= delivered_.payload.size();
    return HostMessage{delivered_.kind, delivered_.payload};
  }
  const int64_t end_us = clock_.NowUs() + std::min(timeout_us, kLongestWaitUs);
  for (;;) {
    const StatusOr<HostMessage> message =
        channel_->Receive(std::max<int64_t>(end_us - clock_.NowUs(), 0));
    if (!message.ok()) return message.status();
    if (IsOwn(message->kind)) continue;
    // The watching thread may receive before the caller is done with this.
    delivered_.kind = message->kind;
    delivered_.payload.assign(message->payload.begin(), message->payload.end());
    return HostMessage{delivered_.kind, delivered_.payload};
  }
}

void WatchedChannel::Watch() {
  (void)pthread_setname_np(pthread_self(), "inferd-beat");
  while (channel_->health().ok()) {
    Beat(clock_.NowUs());
    const bool took = TakeIn();
    const int64_t now_us = clock_.NowUs();
    if (!took) silence_.Restart(now_us);
    if (silence_.Look(now_us, channel_->received_bytes())) {
      channel_->Break(UnavailableError("the other side has said nothing for more than " +
                                       std::to_string(limit_us_ / 1000) + " ms"));
    }
    std::unique_lock lock(stop_mutex_);
    if (stop_.wait_for(lock, std::chrono::microseconds(kLookUs), [this] { return stopping_; })) {
      return;
    }
  }
}

bool WatchedChannel::TakeIn() {
  const std::unique_lock lock(receive_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return true;  // whoever receives takes it
  while (waiting_.size() < kMaxWaiting && waiting_bytes_ < kMaxWaitingBytes) {
    const StatusOr<HostMessage> message = channel_->Receive(0);
    if (!message.ok()) return true;
    if (IsOwn(message->kind)) continue;
    waiting_.push_back({message->kind, {message->payload.begin(), message->payload.end()}});
    waiting_bytes_ += message->payload.size();
  }
  return false;
}

bool WatchedChannel::IsOwn(uint32_t kind) const {
  if (kind == kAlertKind && on_alert_) on_alert_();
  return kind >= kAlertKind;
}

void WatchedChannel::Alert() {
  for (int i = 0; i < kAlertTries; ++i) {
    const std::unique_lock lock(send_mutex_, std::try_to_lock);
    if (lock.owns_lock()) return channel_->SendUnlessGone(kAlertKind, kAlertUs);
    std::this_thread::sleep_for(kAlertPause);
  }
}

void WatchedChannel::Beat(int64_t now_us) {
  if (now_us < next_beat_us_) return;
  next_beat_us_ = now_us + limit_us_ / kBeatsPerLimit;
  // Whoever is sending says enough.
  const std::unique_lock lock(send_mutex_, std::try_to_lock);
  if (lock.owns_lock())
    channel_->SendUnlessGone(kHeartbeatKind, channel_->options().send_timeout_us);
}

}  // namespace inferd
