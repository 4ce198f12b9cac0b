#include "app/logging.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>
#include <thread>
#include <utility>

#include "inferd/base/bounded_queue.h"
#include "nlohmann/json.hpp"
#include "spdlog/sinks/stdout_sinks.h"

namespace inferd::app {
namespace {

constexpr size_t kQueueLines = 8192;
constexpr size_t kMaxLineBytes = 4096;

// RFC 3339 in UTC with milliseconds.
std::string Timestamp(spdlog::log_clock::time_point time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  const std::time_t seconds = static_cast<std::time_t>(ms.count() / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> day{};
  const size_t length = std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::string millis = std::to_string(1000 + ms.count() % 1000);
  millis[0] = '.';
  return std::string(day.data(), length) + millis + "Z";
}

void AppendEscaped(std::string_view text, bool json, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const size_t limit = out->size() + kMaxLineBytes;
  for (char c : text) {
    if (out->size() >= limit) {
      *out += "…";
      return;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      *out += json ? "\\u00" : "\\x";
      *out += kHex[byte >> 4];
      *out += kHex[byte & 15];
    } else if (json && (c == '"' || c == '\\')) {
      *out += '\\';
      *out += c;
    } else {
      *out += c;
    }
  }
}

std::string_view LevelName(spdlog::level::level_enum level) {
  const spdlog::string_view_t name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

// A non-empty object on one line.
bool IsJsonObject(std::string_view text) {
  return text.size() > 2 && text.size() <= kMaxLineBytes && text.front() == '{' &&
         text.find('\n') == std::string_view::npos && nlohmann::json::accept(text);
}

class LineFormatter final : public spdlog::formatter {
 public:
  explicit LineFormatter(bool json) : json_(json) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    std::string line;
    line.reserve(text.size() + 96);
    if (json_) {
      line = "{\"ts\":\"" + Timestamp(message.time) + "\",\"level\":\"";
      line.append(LevelName(message.level));
      if (IsJsonObject(text)) {
        line.append("\",").append(text.substr(1));
      } else {
        line.append("\",\"msg\":\"");
        AppendEscaped(text, json_, &line);
        line += "\"}";
      }
    } else {
      line = Timestamp(message.time) + " ";
      line.append(LevelName(message.level)).append(" ");
      AppendEscaped(text, json_, &line);
    }
    line += '\n';
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(json_);
  }

 private:
  const bool json_;
};

}  // namespace

std::unique_ptr<spdlog::formatter> MakeLineFormatter(bool json) {
  return std::make_unique<LineFormatter>(json);
}

spdlog::sink_ptr StderrSink() { return std::make_shared<spdlog::sinks::stderr_sink_mt>(); }

Logging::Logging(std::string_view level, std::string_view format, spdlog::sink_ptr sink)
    : json_(format == "json" || (format == "auto" && isatty(STDERR_FILENO) == 0)),
      pool_(std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1)) {
  sink->set_formatter(MakeLineFormatter(json_));
  logger_ = std::make_shared<spdlog::async_logger>("inferd", std::move(sink), pool_,
                                                   spdlog::async_overflow_policy::overrun_oldest);
  logger_->flush_on(spdlog::level::info);
  SetLevel(level);
}

Logging::~Logging() {
  logger_->flush();
  pool_.reset();  // its thread ends once the queue is empty
}

void Logging::Close(std::chrono::milliseconds timeout) {
  logger_->flush();
  const auto written = std::make_shared<BoundedQueue<bool>>(1);
  // Detached: where nobody reads the lines, it never ends.
  std::thread([written, pool = std::move(pool_)]() mutable {
    pool.reset();
    written->Close();
  }).detach();
  written->PopFor(timeout);
}

void Logging::SetLevel(std::string_view level) {
  logger_->set_level(spdlog::level::from_str(std::string(level)));
}

}  // namespace inferd::app
