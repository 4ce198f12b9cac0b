#include "serve_load/event_stream.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inferd::bench {
namespace {

struct Collected {
  std::vector<std::string> events;
  bool more = true;
};

// The events of `text`, fed in pieces of `step` bytes.
Collected Collect(std::string_view text, size_t step) {
  Collected collected;
  EventStream stream([&](std::string_view data) {
    collected.events.emplace_back(data);
    return data != "stop";
  });
  for (size_t at = 0; at < text.size() && collected.more; at += step) {
    collected.more = stream.Feed(text.substr(at, step));
  }
  return collected;
}

TEST(EventStream, GivesTheSameEventsForPiecesOfAnySize) {
  const std::string text =
      "data: {\"a\":1}\n\n: comment\nevent: x\ndata:two\r\ndata: lines\r\n\r\n\n\ndata: unfinished";
  for (size_t step = 1; step <= text.size(); ++step) {
    const Collected got = Collect(text, step);
    EXPECT_TRUE(got.more);
    EXPECT_EQ(got.events, (std::vector<std::string>{"{\"a\":1}", "two\nlines"})) << step;
  }
}

TEST(EventStream, GivesEmptyDataAndKeepsFurtherSpaces) {
  EXPECT_EQ(Collect("data\n\ndata:\n\ndata:  x \n\n", 3).events,
            (std::vector<std::string>{"", " x "}));
}

TEST(EventStream, StopsWhenAskedTo) {
  const Collected got = Collect("data: a\n\ndata: stop\n\ndata: b\n\n", 100);
  EXPECT_FALSE(got.more);
  EXPECT_EQ(got.events, (std::vector<std::string>{"a", "stop"}));
}

TEST(EventStream, RefusesAnEventWithoutEnd) {
  EventStream stream([](std::string_view) { return true; });
  const std::string piece(64 << 10, 'x');
  size_t fed = 0;
  while (stream.Feed(piece)) {
    fed += piece.size();
    ASSERT_LE(fed, EventStream::kMaxBytes);
  }
  EXPECT_GT(fed, EventStream::kMaxBytes / 2);
}

}  // namespace
}  // namespace inferd::bench
