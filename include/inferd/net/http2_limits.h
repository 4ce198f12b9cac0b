#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferd {

// What one HTTP/2 connection may do before it is ended with GOAWAY
// (ENHANCE_YOUR_CALM). Frames are those of RFC 9113.
struct Http2Limits {
  int64_t preface_timeout_ms = 5'000;   // preface and first SETTINGS
  int64_t window_ms = 10'000;           // of the counts "per window" below
  int32_t max_frame_bytes = 16 << 10;   // payload
  int32_t max_header_bytes = 16 << 10;  // HEADERS and its CONTINUATIONs together
  int32_t max_continuations = 16;       // frames of one header block
  int32_t max_streams = 128;            // open at once
  int32_t max_new_streams = 2'000;      // per window
  int32_t max_resets = 200;             // per window, RST_STREAM of both directions
  int32_t max_pings = 20;               // per window
  int32_t max_settings = 20;            // per window
  int32_t max_empty_data = 100;         // per window: DATA without payload and END_STREAM
  int32_t max_priority = 100;           // per window
  int32_t max_window_updates = 20'000;  // per window
  int32_t max_control_backlog = 1'000;  // control frames whose answers are not read
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
  kProtocol,  // frames out of order: CONTINUATION without HEADERS, DATA on stream 0...
};
inline constexpr size_t kNumHttp2Violations = 14;

// Fit for a metric label: "resets".
inline std::string_view Http2ViolationName(Http2Violation violation) {
  constexpr std::array<std::string_view, kNumHttp2Violations> kNames = {
      "preface",     "frame_size",     "header_size", "continuations", "streams",
      "new_streams", "resets",         "pings",       "settings",      "empty_data",
      "priority",    "window_updates", "backlog",     "protocol"};
  return kNames[static_cast<size_t>(violation)];
}

}  // namespace inferd
