#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "spdlog/async_logger.h"
#include "spdlog/details/thread_pool.h"
#include "spdlog/logger.h"

namespace inferd::app {

// A logger and the thread that writes its lines. Whoever logs never waits: when
// the queue is full the oldest line is dropped. Destruction writes what is left.
class Logging {
 public:
  // `level` and `format` as in ServerConfig::Log. Lines go to `sink`.
  Logging(std::string_view level, std::string_view format, spdlog::sink_ptr sink);
  ~Logging();
  Logging(const Logging&) = delete;
  Logging& operator=(const Logging&) = delete;

  const std::shared_ptr<spdlog::logger>& logger() const { return logger_; }
  void SetLevel(std::string_view level);
  // Writes what is left, but waits no longer than `timeout` for it; what is logged
  // later is lost. For the end of a process that cannot be taken down.
  void Close(std::chrono::milliseconds timeout);
  bool json() const { return json_; }

 private:
  const bool json_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::logger> logger_;
};

// Lines of text ("2026-01-02T03:04:05.678Z info message") or one JSON object
// each ({"ts":…,"level":…,"msg":…}; of a message that is itself a JSON object,
// its members instead of "msg"). Control characters are escaped and lines
// cut at 4 KiB, so that nobody can forge a line.
std::unique_ptr<spdlog::formatter> MakeLineFormatter(bool json);

// Standard error.
spdlog::sink_ptr StderrSink();

}  // namespace inferd::app
