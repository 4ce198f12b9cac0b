#include "serve_load/event_stream.h"

#include <algorithm>
#include <utility>

namespace inferd::bench {

EventStream::EventStream(OnEvent on_event) : on_event_(std::move(on_event)) {}

bool EventStream::Feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (line_.size() + data_.size() + std::min(end, bytes.size()) > kMaxBytes) return false;
    line_ += bytes.substr(0, end);
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    std::string line = std::exchange(line_, {});
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!TakeLine(line)) return false;
  }
  return true;
}

bool EventStream::TakeLine(std::string_view line) {
  if (line.empty()) {
    if (!std::exchange(has_data_, false)) return true;
    return on_event_(std::exchange(data_, {}));
  }
  constexpr std::string_view kField = "data:";
  if (line.substr(0, kField.size()) != kField) return true;
  line.remove_prefix(kField.size());
  if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  if (has_data_) data_ += '\n';
  data_ += line;
  has_data_ = true;
  return true;
}

}  // namespace inferd::bench
