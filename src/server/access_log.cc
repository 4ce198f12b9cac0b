#include "server/access_log.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace inferd {
namespace {

class LineWriter {
 public:
  explicit LineWriter(bool json) : json_(json) {
    if (json_) line_ = "{";
  }
  void Text(std::string_view key, std::string_view value) {
    Key(key);
    line_ += '"';
    line_ += EscapeForLog(value);
    line_ += '"';
  }
  void Number(std::string_view key, int64_t value) {
    Key(key);
    line_ += std::to_string(value);
  }
  void Millis(std::string_view key, int64_t us) {
    if (us < 0) return;
    Key(key);
    std::array<char, 32> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.3f", static_cast<double>(us) / 1000.0);
    line_ += buffer.data();
  }
  std::string Take() {
    if (json_) line_ += '}';
    return std::move(line_);
  }

 private:
  void Key(std::string_view key) {
    if (json_) {
      if (line_.size() > 1) line_ += ", ";
      line_ += '"';
      line_ += key;
      line_ += "\": ";
    } else {
      if (!line_.empty()) line_ += ' ';
      line_ += key;
      line_ += '=';
    }
  }
  bool json_;
  std::string line_;
};

}  // namespace

std::string EscapeForLog(std::string_view text, size_t max_bytes) {
  std::string out;
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7F) {
      std::array<char, 8> buffer{};
      std::snprintf(buffer.data(), buffer.size(), "\\u%04x", byte);
      out += buffer.data();
    } else {
      out += c;
    }
  }
  return out;
}

bool IsValidRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

std::string FormatAccessLine(const AccessRecord& record, bool json) {
  LineWriter line(json);
  line.Text("request_id", record.caller.request_id);
  if (!record.caller.trace.trace_id.empty()) line.Text("trace_id", record.caller.trace.trace_id);
  line.Text("model", record.model);
  line.Text("method", RpcMethodName(record.caller.method));
  line.Text("code", StatusCodeName(record.code));
  if (!record.reason.empty()) line.Text("reason", record.reason);
  line.Number("prompt_tokens", record.summary.usage.prompt_tokens);
  line.Number("completion_tokens", record.summary.usage.completion_tokens);
  line.Number("cached_tokens", record.summary.usage.cached_tokens);
  line.Millis("queue_ms", record.summary.queue_us);
  line.Millis("ttft_ms", record.summary.ttft_us);
  line.Millis("e2e_ms", record.e2e_us);
  if (!record.finish_reason.empty()) line.Text("finish_reason", record.finish_reason);
  if (record.caller.key != nullptr) line.Text("key_id", record.caller.key->id);
  line.Text("peer", record.caller.peer);
  return line.Take();
}

}  // namespace inferd
