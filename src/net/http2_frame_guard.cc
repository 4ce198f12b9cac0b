#include "net/http2_frame_guard.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace inferd::net {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
constexpr uint8_t kAck = 0x1;
constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kEndHeaders = 0x4;
constexpr uint8_t kPadded = 0x8;
constexpr uint16_t kMaxFrameSizeSetting = 5;

bool IsClientStream(uint32_t id) { return id % 2 == 1; }

}  // namespace

Http2FrameGuard::Http2FrameGuard(const Http2Limits& limits, int64_t now_ms)
    : limits_(limits), start_ms_(now_ms), window_start_ms_(now_ms) {}

void Http2FrameGuard::RollWindow(int64_t now_ms) {
  if (now_ms - window_start_ms_ < limits_.window_ms) return;
  window_start_ms_ = now_ms;
  counts_ = {};
}

Http2FrameGuard::Verdict Http2FrameGuard::FeedClient(std::span<const uint8_t> bytes,
                                                     int64_t now_ms) {
  if (violation_) return {.forward = 0, .violation = violation_};
  RollWindow(now_ms);
  size_t done = 0;
  while (preface_seen_ < kPreface.size() && done < bytes.size()) {
    if (bytes[done] != static_cast<uint8_t>(kPreface[preface_seen_])) {
      violation_ = Http2Violation::kPreface;
      return {.forward = done, .violation = violation_};
    }
    ++done;
    ++preface_seen_;
  }
  while (done < bytes.size()) {
    size_t used = 0;
    const Http2FrameReader::Event event = client_.Next(bytes.subspan(done), used);
    if (event == Http2FrameReader::Event::kHeader) {
      violation_ = OnClientFrame(client_.frame(), now_ms);
    } else if (event == Http2FrameReader::Event::kPeek) {
      // Of a padded DATA frame: nothing but padding is as good as empty.
      if (client_.peeked()[0] + 1U >= client_.frame().length) violation_ = CountEmptyData();
    }
    // The byte that completed the offence stays here, so that the server never sees
    // a whole frame of it.
    if (violation_) return {.forward = done + used - 1, .violation = violation_};
    done += used;
  }
  return {.forward = done, .violation = std::nullopt};
}

std::optional<Http2Violation> Http2FrameGuard::OnClientFrame(const Frame& frame, int64_t now_ms) {
  const auto max_data =
      std::max<uint32_t>(static_cast<uint32_t>(limits_.max_frame_bytes), server_max_frame_);
  const auto max_bytes =
      frame.type == kData ? max_data : static_cast<uint32_t>(limits_.max_frame_bytes);
  if (frame.length > max_bytes) return Http2Violation::kFrameSize;
  if (!settings_seen_) {
    if (frame.type != kSettings || (frame.flags & kAck) != 0) return Http2Violation::kPreface;
    settings_seen_ = true;
  }
  if (in_header_block_) {
    if (frame.type != kContinuation || frame.stream != block_stream_) {
      return Http2Violation::kProtocol;
    }
    return OnContinuation(frame);
  }
  switch (frame.type) {
    case kData:
      return OnData(frame, now_ms);
    case kHeaders:
      return OnHeaders(frame, now_ms);
    case kRstStream:
      return OnReset(frame);
    case kSettings:
      return OnSettings(frame);
    case kPing:
      return OnPing(frame);
    case kWindowUpdate:
      return OnWindowUpdate(frame);
    case kPushPromise:
    case kContinuation:
      return Http2Violation::kProtocol;
    case kGoaway:
      if (frame.stream != 0 || frame.length < 8) return Http2Violation::kProtocol;
      if (++counts_.settings > limits_.max_settings) return Http2Violation::kSettings;
      return std::nullopt;
    default:  // PRIORITY, and types that are to be ignored
      if (frame.type == kPriority && frame.stream == 0) return Http2Violation::kProtocol;
      if (++counts_.priority > limits_.max_priority) return Http2Violation::kPriority;
      return std::nullopt;
  }
}

std::optional<Http2Violation> Http2FrameGuard::CountEmptyData() {
  if (++counts_.empty_data > limits_.max_empty_data) return Http2Violation::kEmptyData;
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnData(const Frame& frame, int64_t now_ms) {
  if (!IsClientStream(frame.stream) || frame.stream > last_stream_) {
    return Http2Violation::kProtocol;
  }
  // A stream that is not open was ended by the server a moment ago, perhaps.
  if ((frame.flags & kEndStream) != 0) {
    streams_.End(frame.stream, Http2Streams::Side::kClient);
    return std::nullopt;
  }
  if (frame.length == 0) return CountEmptyData();
  streams_.AddBody(frame.stream, frame.length, now_ms);
  if ((frame.flags & kPadded) != 0) client_.Peek(1);
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnHeaders(const Frame& frame, int64_t now_ms) {
  if (!IsClientStream(frame.stream)) return Http2Violation::kProtocol;
  if (static_cast<int64_t>(frame.length) > limits_.max_header_bytes) {
    return Http2Violation::kHeaderSize;
  }
  // Trailers are counted like a new stream: they are as much work.
  if (++counts_.new_streams > limits_.max_new_streams) return Http2Violation::kNewStreams;
  if (frame.stream > last_stream_) {
    if (open_streams() >= limits_.max_streams) return Http2Violation::kStreams;
    last_stream_ = frame.stream;
    streams_.Open(frame.stream);
  }
  if ((frame.flags & kEndStream) != 0) streams_.End(frame.stream, Http2Streams::Side::kClient);
  if ((frame.flags & kEndHeaders) == 0) {
    in_header_block_ = true;
    block_stream_ = frame.stream;
    block_bytes_ = frame.length;
    block_continuations_ = 0;
    block_since_ms_ = now_ms;
  }
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnContinuation(const Frame& frame) {
  if (++block_continuations_ > limits_.max_continuations) return Http2Violation::kContinuations;
  block_bytes_ += frame.length;
  if (block_bytes_ > limits_.max_header_bytes) return Http2Violation::kHeaderSize;
  if ((frame.flags & kEndHeaders) != 0) in_header_block_ = false;
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::CountReset() {
  ++resets_;
  if (++counts_.resets > limits_.max_resets) return Http2Violation::kResets;
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnReset(const Frame& frame) {
  if (frame.length != 4 || !IsClientStream(frame.stream) || frame.stream > last_stream_) {
    return Http2Violation::kProtocol;
  }
  const bool answered = streams_.IsAnswered(frame.stream);
  streams_.Erase(frame.stream);
  // After the whole answer it is a tidy client's way to end its own side.
  return answered ? std::nullopt : CountReset();
}

std::optional<Http2Violation> Http2FrameGuard::OnSettings(const Frame& frame) {
  const bool ack = (frame.flags & kAck) != 0;
  if (frame.stream != 0 || (ack ? frame.length != 0 : frame.length % 6 != 0)) {
    return Http2Violation::kProtocol;
  }
  if (ack && server_settings_ > 0) {
    --server_settings_;
    return std::nullopt;
  }
  if (++counts_.settings > limits_.max_settings) return Http2Violation::kSettings;
  if (!ack && ++unanswered_ > limits_.max_control_backlog) return Http2Violation::kBacklog;
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnPing(const Frame& frame) {
  if (frame.stream != 0 || frame.length != 8) return Http2Violation::kProtocol;
  if ((frame.flags & kAck) != 0) {
    if (server_pings_ > 0) {
      --server_pings_;
      return std::nullopt;
    }
  } else {
    if (++unanswered_ > limits_.max_control_backlog) return Http2Violation::kBacklog;
    if (ping_credit_ > 0) {
      --ping_credit_;
      return std::nullopt;
    }
  }
  if (++counts_.pings > limits_.max_pings) return Http2Violation::kPings;
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::OnWindowUpdate(const Frame& frame) {
  if (frame.length != 4 || frame.stream > last_stream_ ||
      (frame.stream != 0 && !IsClientStream(frame.stream))) {
    return Http2Violation::kProtocol;
  }
  if (window_update_credit_ > 0) {
    --window_update_credit_;
    return std::nullopt;
  }
  if (++counts_.window_updates > limits_.max_window_updates) {
    return Http2Violation::kWindowUpdates;
  }
  return std::nullopt;
}

std::optional<Http2Violation> Http2FrameGuard::FeedServer(std::span<const uint8_t> bytes,
                                                          int64_t now_ms) {
  RollWindow(now_ms);
  size_t done = 0;
  while (done < bytes.size()) {
    size_t used = 0;
    const Http2FrameReader::Event event = server_.Next(bytes.subspan(done), used);
    done += used;
    if (event == Http2FrameReader::Event::kHeader) {
      OnServerFrame(server_.frame());
    } else if (event == Http2FrameReader::Event::kSetting) {
      const std::span<const uint8_t> entry = server_.peeked();
      if ((entry[0] << 8 | entry[1]) == kMaxFrameSizeSetting) {
        server_max_frame_ = ReadBigEndian32(entry.subspan(2));
      }
    }
  }
  return violation_;
}

void Http2FrameGuard::OnServerFrame(const Frame& frame) {
  const bool ack = (frame.flags & kAck) != 0;
  switch (frame.type) {
    case kData:
      // A client gives windows back, for the stream and the connection, as it reads.
      window_update_credit_ =
          std::min<int64_t>(window_update_credit_ + 2, limits_.max_window_updates);
      [[fallthrough]];
    case kHeaders:
      // Clients measure the path with a PING when something arrives.
      ping_credit_ = 1;
      if ((frame.flags & kEndStream) != 0) streams_.End(frame.stream, Http2Streams::Side::kServer);
      return;
    case kRstStream: {
      // Also after a whole answer: that is how gRPC ends a stream it was made to reset.
      streams_.Erase(frame.stream);
      const auto found = CountReset();
      if (!violation_) violation_ = found;
      return;
    }
    case kSettings:
      if (ack) {
        unanswered_ = std::max<int64_t>(0, unanswered_ - 1);
      } else {
        ++server_settings_;
        server_.PeekSettings();
      }
      return;
    case kPing:
      if (ack) {
        unanswered_ = std::max<int64_t>(0, unanswered_ - 1);
      } else {
        ++server_pings_;
      }
      return;
    default:
      return;
  }
}

std::optional<Http2Violation> Http2FrameGuard::CheckTime(int64_t now_ms) const {
  if (now_ms < DueMs()) return std::nullopt;
  if (!settings_seen_) return Http2Violation::kPreface;
  return in_header_block_ ? Http2Violation::kContinuations : Http2Violation::kBodyTimeout;
}

int64_t Http2FrameGuard::DueMs() const {
  if (!settings_seen_) return start_ms_ + limits_.preface_timeout_ms;
  if (in_header_block_) return block_since_ms_ + limits_.header_block_timeout_ms;
  if (held_bytes() > 0) return streams_.progress_ms() + limits_.body_timeout_ms;
  return std::numeric_limits<int64_t>::max();
}

Status Http2FrameGuard::CheckIntegrity() const {
  if (open_streams() > limits_.max_streams) return InternalError("more streams than allowed");
  return streams_.CheckIntegrity(last_stream_);
}

}  // namespace inferd::net
