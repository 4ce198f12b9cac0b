#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace inferd::bench {

// Cuts a text/event-stream, fed in pieces of any size, into the data of its
// events. Comments and fields other than "data" are skipped; lines may end in
// LF or CR LF. One thread.
class EventStream {
 public:
  // Called with the data of each whole event; lines of one event are joined by
  // LF. False ends the stream.
  using OnEvent = std::function<bool(std::string_view data)>;

  explicit EventStream(OnEvent on_event);

  // False when the callback asked for the end, or an event grew over kMaxBytes.
  bool Feed(std::string_view bytes);

  static constexpr size_t kMaxBytes = 1 << 20;

 private:
  bool TakeLine(std::string_view line);

  const OnEvent on_event_;
  std::string line_;  // begun and not ended
  std::string data_;
  bool has_data_ = false;
};

}  // namespace inferd::bench
