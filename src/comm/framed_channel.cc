#include "comm/framed_channel.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "inferd/comm/tcp_channel.h"

namespace inferd {
namespace {

constexpr int64_t kMaxMessageBytes = int64_t{1} << 30;
// The memory for a message grows with what came of it, not with what it says it is.
constexpr size_t kGrowBytes = 1 << 20;
// A buffer that one large message needed is given back after it.
constexpr size_t kKeepBytes = 4 << 20;
constexpr int64_t kLongestWaitUs = int64_t{1} << 50;  // decades; no sum overflows

void Shrink(std::vector<std::byte>& buffer) {
  if (buffer.capacity() > kKeepBytes) std::vector<std::byte>().swap(buffer);
}

}  // namespace

Status CheckHostChannelOptions(const HostChannelOptions& options) {
  if (options.epoch == 0 || options.epoch == kEpochOfEngine) {
    return InvalidArgumentError("the epoch of a channel must be a number of its own");
  }
  if (options.max_message_bytes < 1 || options.max_message_bytes > kMaxMessageBytes) {
    return InvalidArgumentError("max_message_bytes must be in 1..1073741824");
  }
  if (options.send_timeout_us <= 0) {
    return InvalidArgumentError("send_timeout_us must be positive");
  }
  return OkStatus();
}

FramedChannel::FramedChannel(std::unique_ptr<ByteLink> link, const HostChannelOptions& options,
                             const FrameKeys& keys, const Clock& clock)
    : link_(std::move(link)), options_(options), keys_(keys), clock_(clock) {}

Status FramedChannel::Send(uint32_t kind, std::span<const std::byte> payload) {
  if (failed_.load(std::memory_order_acquire)) return Broken();
  Status status = Write(kind, payload, options_.send_timeout_us);
  return status.ok() || status.code() == StatusCode::kInvalidArgument ? status
                                                                      : Fail(std::move(status));
}

void FramedChannel::SendUnlessGone(uint32_t kind, int64_t timeout_us) {
  if (failed_.load(std::memory_order_acquire)) return;
  Status status = Write(kind, {}, timeout_us);
  if (!status.ok() && status.code() != StatusCode::kUnavailable) (void)Fail(std::move(status));
}

Status FramedChannel::Write(uint32_t kind, std::span<const std::byte> payload, int64_t timeout_us) {
  if (payload.size() > static_cast<size_t>(options_.max_message_bytes)) {
    return InvalidArgumentError("a message of " + std::to_string(payload.size()) +
                                " bytes is longer than the channel takes");
  }
  FrameHeader header;
  header.epoch = options_.epoch;
  header.sequence = ++sent_;
  header.kind = kind;
  header.size = payload.size();
  out_.resize(sizeof(header) + payload.size());
  std::memcpy(out_.data(), &header, sizeof(header));
  if (!payload.empty()) std::memcpy(out_.data() + sizeof(header), payload.data(), payload.size());
  header.check = FrameCheck(keys_.send, out_);
  std::memcpy(out_.data(), &header, sizeof(header));
  Status status = link_->Write(out_, clock_.NowUs() + timeout_us);
  Shrink(out_);
  return status;
}

Status FramedChannel::FillTo(size_t bytes, int64_t deadline_us) {
  while (filled_ < bytes) {
    const size_t end = std::min(bytes, filled_ + kGrowBytes);
    if (frame_.size() < end) frame_.resize(end);
    INFERD_ASSIGN_OR_RETURN(
        const size_t n,
        link_->ReadSome(std::span(frame_).subspan(filled_, end - filled_), deadline_us));
    filled_ += n;
    received_bytes_.fetch_add(n, std::memory_order_relaxed);
  }
  return OkStatus();
}

StatusOr<HostMessage> FramedChannel::Receive(int64_t timeout_us) {
  if (failed_.load(std::memory_order_acquire)) return Broken();
  if (delivered_) {
    Shrink(frame_);
    filled_ = 0;
    delivered_ = false;
  }
  const int64_t deadline_us = clock_.NowUs() + std::min(timeout_us, kLongestWaitUs);
  const auto end = [this](Status status) {
    return status.code() == StatusCode::kDeadlineExceeded &&
                   !failed_.load(std::memory_order_acquire)
               ? status
               : Fail(std::move(status));
  };
  if (Status status = FillTo(sizeof(FrameHeader), deadline_us); !status.ok()) return end(status);
  FrameHeader header;
  std::memcpy(&header, frame_.data(), sizeof(header));
  const ExpectedFrame expected{options_.epoch, received_ + 1,
                               static_cast<uint64_t>(options_.max_message_bytes)};
  if (Status status = CheckFrameHeader(header, expected); !status.ok()) return Fail(status);
  const size_t bytes = sizeof(header) + static_cast<size_t>(header.size);
  if (Status status = FillTo(bytes, deadline_us); !status.ok()) return end(status);
  const auto frame = std::span(frame_).first(bytes);
  std::memset(frame.data() + offsetof(FrameHeader, check), 0, sizeof(header.check));
  if (FrameCheck(keys_.receive, frame) != header.check) {
    return Fail(Status(StatusCode::kDataLoss, "a message with a wrong check"));
  }
  ++received_;
  delivered_ = true;
  return HostMessage{header.kind, frame.subspan(sizeof(header))};
}

void FramedChannel::Abort() { (void)Fail(Status(StatusCode::kAborted, "the channel was aborted")); }

Status FramedChannel::Fail(Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (error_.ok()) error_ = std::move(status);
    failed_.store(true, std::memory_order_release);
  }
  link_->Break();
  return Broken();
}

Status FramedChannel::Broken() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace inferd
