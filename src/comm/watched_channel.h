#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/framed_channel.h"
#include "comm/silence_watch.h"
#include "inferd/base/clock.h"
#include "inferd/comm/host_channel.h"

namespace inferd {

// The kind of the messages that only say that their sender lives; nobody else may use it.
inline constexpr uint32_t kHeartbeatKind = ~uint32_t{0};
// And of those of Alert(): likewise.
inline constexpr uint32_t kAlertKind = kHeartbeatKind - 1;

// A channel whose two ends tell each other that they live, whatever their owners do. A thread
// of its own sends a heartbeat every fifth of the limit and, while nobody receives, takes in
// what comes; it breaks the channel with UNAVAILABLE once nothing has come for longer than the
// limit. Both ends must be of this kind, with the same limit.
class WatchedChannel final : public HostChannel {
 public:
  // `clock` outlives the channel. `on_alert`: see TcpChannelOptions; may be empty.
  WatchedChannel(std::unique_ptr<FramedChannel> channel, int64_t limit_us,
                 std::function<void()> on_alert, const Clock& clock);
  ~WatchedChannel() override;

  Status Send(uint32_t kind, std::span<const std::byte> payload) override;
  StatusOr<HostMessage> Receive(int64_t timeout_us) override;
  void Abort() override { channel_->Abort(); }
  void Alert() override;
  Status health() const override { return channel_->health(); }
  uint64_t epoch() const override { return channel_->epoch(); }

 private:
  struct Message {
    uint32_t kind = 0;
    std::vector<std::byte> payload;
  };

  void Watch();
  // Takes in what has come. False when there is no room for it.
  bool TakeIn();
  // Whether a message is the channel's own; hears an alert.
  bool IsOwn(uint32_t kind) const;
  void Beat(int64_t now_us);

  const std::unique_ptr<FramedChannel> channel_;
  const int64_t limit_us_;
  const std::function<void()> on_alert_;
  const Clock& clock_;
  int64_t next_beat_us_;  // the watching thread's
  SilenceWatch silence_;  // likewise

  std::mutex send_mutex_;
  std::mutex receive_mutex_;
  std::deque<Message> waiting_;  // came while nobody received; under receive_mutex_
  size_t waiting_bytes_ = 0;     // likewise
  Message delivered_;            // the receiver's

  std::mutex stop_mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // under stop_mutex_
  std::thread thread_;     // last
};

}  // namespace inferd
