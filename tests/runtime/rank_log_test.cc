#include "runtime/rank_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "inferd/base/unique_fd.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::runtime {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    read.Reset(ends[0]);
    write.Reset(ends[1]);
    EXPECT_EQ(fcntl(read.get(), F_SETFL, O_NONBLOCK), 0);
  }
  void Say(const std::string& text) const {
    EXPECT_EQ(::write(write.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  UniqueFd read, write;
};

TEST(RankLogTest, LinesHaveTheirLevelsAndComeInOnePiece) {
  std::ostringstream out;
  auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_st>(out));
  logger->set_pattern("%l %v");
  RankLog log(3, logger);
  Pipe pipe;
  pipe.Say("I|one\nE|tw");
  EXPECT_TRUE(log.Read(pipe.read.get()));
  pipe.Say("o\nof a library");
  EXPECT_TRUE(log.Read(pipe.read.get()));
  pipe.write.Reset();
  EXPECT_FALSE(log.Read(pipe.read.get()));
  log.Finish();
  EXPECT_EQ(out.str(), "info rank 3: one\nerror rank 3: two\nwarning rank 3: of a library\n");
  EXPECT_EQ(log.num_lines(), 3);
}

// Whoever reads has other ranks to look after: this one never stops.
TEST(RankLogTest, ReadsNoMoreThanSomeOfAFlood) {
  const UniqueFd flood(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  RankLog log(0, nullptr);
  EXPECT_TRUE(log.Read(flood.get()));
  EXPECT_TRUE(log.Read(flood.get()));
}

}  // namespace
}  // namespace inferd::runtime
