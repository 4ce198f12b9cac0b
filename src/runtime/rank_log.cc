#include "runtime/rank_log.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "spdlog/spdlog.h"

namespace inferd::runtime {
namespace {

constexpr size_t kMaxLineBytes = 4096;
// Of one call: whoever reads has more to look after than one rank that does not stop.
constexpr int kMaxReads = 16;

spdlog::level::level_enum LevelOf(char letter) {
  switch (letter) {
    case 'T':
      return spdlog::level::trace;
    case 'D':
      return spdlog::level::debug;
    case 'I':
      return spdlog::level::info;
    case 'E':
      return spdlog::level::err;
    case 'C':
      return spdlog::level::critical;
    default:
      return spdlog::level::warn;
  }
}

}  // namespace

RankLog::RankLog(int rank, std::shared_ptr<spdlog::logger> logger)
    : rank_(rank), logger_(std::move(logger)) {}

bool RankLog::Read(int fd) {
  std::array<char, 4096> buffer;
  for (int i = 0; i < kMaxReads; ++i) {
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    Take(std::string_view(buffer.data(), static_cast<size_t>(size)));
  }
  return true;
}

void RankLog::Take(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view part = text.substr(0, end);
    if (line_.size() < kMaxLineBytes) line_.append(part.substr(0, kMaxLineBytes - line_.size()));
    if (end == std::string_view::npos) return;
    Log(std::exchange(line_, std::string()));
    text.remove_prefix(end + 1);
  }
}

void RankLog::Finish() {
  if (!line_.empty()) Log(std::exchange(line_, std::string()));
}

void RankLog::Log(std::string_view line) {
  ++num_lines_;
  if (logger_ == nullptr || line.empty()) return;
  const bool has_level = line.size() > 1 && line[1] == '|';
  logger_->log(has_level ? LevelOf(line[0]) : spdlog::level::warn, "rank {}: {}", rank_,
               has_level ? line.substr(2) : line);
}

}  // namespace inferd::runtime
