// Watches both directions of an HTTP/2 connection, frame header by frame header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "inferd/base/status.h"
#include "inferd/net/http2_limits.h"
#include "net/http2_frame_reader.h"
#include "net/http2_streams.h"

namespace inferd::net {

// Decides how much of what a client sends may reach the server. Knows frames, not
// header compression: a header block is bounded by its length. The same bytes are
// judged the same however they are split. No sockets, no clock, no threads.
class Http2FrameGuard {
 public:
  Http2FrameGuard(const Http2Limits& limits, int64_t now_ms);

  struct Verdict {
    size_t forward = 0;  // so many of the bytes may go on
    std::optional<Http2Violation> violation;
  };
  // After a violation nothing more may go on.
  Verdict FeedClient(std::span<const uint8_t> bytes, int64_t now_ms);
  // The server's bytes always go on; they end and reset streams.
  std::optional<Http2Violation> FeedServer(std::span<const uint8_t> bytes, int64_t now_ms);
  // What is overdue: the preface, the rest of a header block, or of bodies.
  std::optional<Http2Violation> CheckTime(int64_t now_ms) const;
  // When CheckTime next has something to say; max() for never.
  int64_t DueMs() const;

  int32_t open_streams() const { return streams_.size(); }
  // Of requests not yet complete, what their bodies have brought, beyond
  // kFreeBodyBytes of each: the server holds it.
  int64_t held_bytes() const { return streams_.held_bytes(); }
  // Since the beginning, those that count against max_resets.
  int64_t resets() const { return resets_; }
  int32_t resets_in_window() const { return counts_.resets; }
  uint32_t last_stream() const { return last_stream_; }
  // Between two frames of the server: a frame of ours may be put in.
  bool server_at_boundary() const { return server_.at_boundary(); }
  // INTERNAL when the open streams are too many, or do not hold together.
  Status CheckIntegrity() const;

 private:
  using Frame = Http2FrameReader::Frame;
  // Per window; see Http2Limits.
  struct Counts {
    int32_t new_streams = 0;
    int32_t resets = 0;
    int32_t pings = 0;
    int32_t settings = 0;
    int32_t empty_data = 0;
    int32_t priority = 0;
    int32_t window_updates = 0;
  };

  std::optional<Http2Violation> OnClientFrame(const Frame& frame, int64_t now_ms);
  std::optional<Http2Violation> OnData(const Frame& frame, int64_t now_ms);
  std::optional<Http2Violation> OnHeaders(const Frame& frame, int64_t now_ms);
  std::optional<Http2Violation> OnContinuation(const Frame& frame);
  std::optional<Http2Violation> OnReset(const Frame& frame);
  std::optional<Http2Violation> OnSettings(const Frame& frame);
  std::optional<Http2Violation> OnPing(const Frame& frame);
  std::optional<Http2Violation> OnWindowUpdate(const Frame& frame);
  void OnServerFrame(const Frame& frame);
  std::optional<Http2Violation> CountReset();
  std::optional<Http2Violation> CountEmptyData();
  void RollWindow(int64_t now_ms);

  const Http2Limits limits_;
  const int64_t start_ms_;
  size_t preface_seen_ = 0;
  bool settings_seen_ = false;
  std::optional<Http2Violation> violation_;
  Http2FrameReader client_;
  Http2FrameReader server_;

  Http2Streams streams_;  // open
  int64_t resets_ = 0;
  uint32_t last_stream_ = 0;
  bool in_header_block_ = false;
  uint32_t block_stream_ = 0;
  int64_t block_bytes_ = 0;
  int32_t block_continuations_ = 0;
  int64_t block_since_ms_ = 0;

  int64_t window_start_ms_;
  Counts counts_;
  int64_t ping_credit_ = 0;            // frames of the server since the last PING: 0 or 1
  int64_t window_update_credit_ = 0;   // two per DATA frame of the server
  int64_t server_pings_ = 0;           // whose acknowledgement the client owes
  int64_t server_settings_ = 0;        // likewise
  int64_t unanswered_ = 0;             // the client's PINGs and SETTINGS, by the server
  uint32_t server_max_frame_ = 16384;  // announced by the server
};

}  // namespace inferd::net
