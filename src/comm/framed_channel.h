#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "comm/byte_link.h"
#include "comm/frame.h"
#include "inferd/base/clock.h"
#include "inferd/comm/host_channel.h"

namespace inferd {

// Keys of the two directions; none where memory is shared.
struct FrameKeys {
  std::optional<HashKey> send;
  std::optional<HashKey> receive;
};

// INVALID_ARGUMENT unless the options are in their ranges.
Status CheckHostChannelOptions(const HostChannelOptions& options);

// Messages over any link.
class FramedChannel final : public HostChannel {
 public:
  // `options` are valid; `clock` outlives the channel.
  FramedChannel(std::unique_ptr<ByteLink> link, const HostChannelOptions& options,
                const FrameKeys& keys, const Clock& clock);

  Status Send(uint32_t kind, std::span<const std::byte> payload) override;
  StatusOr<HostMessage> Receive(int64_t timeout_us) override;
  void Abort() override;
  Status health() const override { return Broken(); }
  uint64_t epoch() const override { return options_.epoch; }
  // Sends a message without a payload, within `timeout_us`. That the other side is gone is left for
  // Receive to tell, after what was said before.
  void SendUnlessGone(uint32_t kind, int64_t timeout_us);
  const HostChannelOptions& options() const { return options_; }
  // As Abort(), with a reason.
  void Break(Status why) { (void)Fail(std::move(why)); }
  // What has come so far. Any thread.
  uint64_t received_bytes() const { return received_bytes_.load(std::memory_order_relaxed); }

 private:
  // The first error stays; the link is broken with it.
  Status Fail(Status status);
  Status Broken() const;
  Status Write(uint32_t kind, std::span<const std::byte> payload, int64_t timeout_us);
  // Reads on until `frame_` holds `bytes`.
  Status FillTo(size_t bytes, int64_t deadline_us);

  const std::unique_ptr<ByteLink> link_;
  const HostChannelOptions options_;
  const FrameKeys keys_;
  const Clock& clock_;
  // The sender's.
  uint64_t sent_ = 0;
  std::vector<std::byte> out_;
  // The receiver's: the message that comes, or the last one that came.
  uint64_t received_ = 0;
  std::vector<std::byte> frame_;
  size_t filled_ = 0;      // bytes of it that came
  bool delivered_ = true;  // it was handed out: the next call begins a new one

  std::atomic<uint64_t> received_bytes_{0};
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  Status error_;  // under mutex_
};

}  // namespace inferd
