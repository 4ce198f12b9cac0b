#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "spdlog/logger.h"

namespace inferd::runtime {

// A child's lines, read from its pipe, as lines of this process's log: "rank 2: ...".
// Those that begin with a level's letter and a bar ("W|text") have
// that level, others (of a library, of the kernel's doing, a stack) are warnings. A line
// is cut at some length. One thread.
class RankLog {
 public:
  RankLog(int rank, std::shared_ptr<spdlog::logger> logger);

  // Takes what the non-blocking `fd` has now. False once there will be no more.
  bool Read(int fd);
  // What is left without an end of line.
  void Finish();
  // Lines so far.
  int64_t num_lines() const { return num_lines_; }

 private:
  void Take(std::string_view text);
  void Log(std::string_view line);

  const int rank_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::string line_;
  int64_t num_lines_ = 0;
};

}  // namespace inferd::runtime
