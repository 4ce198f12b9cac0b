#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferd {

// Of each request's body, what does not count as held (ListenerOptions::
// max_pending_body_bytes): clients that hold large bodies back keep nobody from small
// ones. The number of connections and streams bounds it.
inline constexpr int64_t kFreeBodyBytes = 64 << 10;

// Resets per window of one connection that are nobody else's business.
inline constexpr int32_t kFreeResets = 10;

// What one HTTP/2 connection may do before it is ended with GOAWAY
// (ENHANCE_YOUR_CALM). Frames are those of RFC 9113.
struct Http2Limits {
  int64_t preface_timeout_ms = 5'000;        // preface and first SETTINGS
  int64_t header_block_timeout_ms = 10'000;  // from HEADERS to its END_HEADERS
  int64_t body_timeout_ms = 15'000;          // without progress of the bodies held
  int64_t window_ms = 10'000;                // of the counts "per window" below: they begin anew
  int32_t max_frame_bytes = 16 << 10;        // payload; of DATA: what the server announced, if more
  int32_t max_header_bytes = 16 << 10;       // HEADERS and its CONTINUATIONs together
  int32_t max_continuations = 16;            // frames of one header block
  int32_t max_streams = 128;                 // open at once
  int32_t max_new_streams = 10'000;          // per window; HEADERS frames
  // Per window, RST_STREAM of both directions; not a client's after a whole answer.
  int32_t max_resets = 200;
  // Per window, beyond one after each HEADERS or DATA frame of the server: clients
  // measure the path that way while an answer streams.
  int32_t max_pings = 20;
  int32_t max_settings = 20;            // per window
  int32_t max_empty_data = 100;         // per window: DATA without payload and END_STREAM
  int32_t max_priority = 100;           // per window; PRIORITY and unknown frames
  int32_t max_window_updates = 20'000;  // per window, beyond two per DATA frame of the server
  int32_t max_control_backlog = 1'000;  // control frames whose answers are not read
  // Per window and address: connections of it that were ended so, where each max_resets of
  // resets on its connections count as one more. Past it new connections of the address are
  // refused for penalty_ms; open ones live on.
  int32_t max_violations = 5;
  int64_t penalty_ms = 30'000;
  // Resets a second, of all connections of the listener and past kFreeResets per window of
  // each. Past it the connections that reset are read more slowly.
  int32_t max_reset_rate = 2'000;
};

enum class Http2Violation : uint8_t {
  kPreface,
  kFrameSize,
  kHeaderSize,
  kContinuations,
  kStreams,
  kNewStreams,
  kResets,
  kPings,
  kSettings,
  kEmptyData,
  kPriority,
  kWindowUpdates,
  kBacklog,
  kBodyTimeout,
  kPendingBodies,  // of all connections together; found by the listener
  kProtocol,       // frames out of order: CONTINUATION without HEADERS, DATA on stream 0...
};
inline constexpr size_t kNumHttp2Violations = 16;

// Fit for a metric label: "resets".
inline std::string_view Http2ViolationName(Http2Violation violation) {
  constexpr std::array<std::string_view, kNumHttp2Violations> kNames = {
      "preface", "frame_size",   "header_size",    "continuations", "streams",  "new_streams",
      "resets",  "pings",        "settings",       "empty_data",    "priority", "window_updates",
      "backlog", "body_timeout", "pending_bodies", "protocol"};
  return kNames[static_cast<size_t>(violation)];
}

}  // namespace inferd
