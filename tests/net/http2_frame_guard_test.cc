#include "net/http2_frame_guard.h"

#include <gtest/gtest.h>

#include <random>

#include "raw_client.h"

namespace inferd::net {
namespace {

constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kPriority = 2;
constexpr uint8_t kRst = 3;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kPush = 5;
constexpr uint8_t kPing = 6;
constexpr uint8_t kGoaway = 7;
constexpr uint8_t kWindowUpdate = 8;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr uint8_t kPadded = 8;

using Found = std::optional<Http2Violation>;

Http2Limits SmallLimits() {
  Http2Limits limits;
  limits.preface_timeout_ms = 100;
  limits.header_block_timeout_ms = 200;
  limits.window_ms = 1'000;
  limits.max_frame_bytes = 64;
  limits.max_header_bytes = 48;
  limits.max_continuations = 3;
  limits.max_streams = 5;
  limits.max_new_streams = 20;
  limits.max_resets = 4;
  limits.max_pings = 3;
  limits.max_settings = 4;
  limits.max_empty_data = 3;
  limits.max_priority = 3;
  limits.max_window_updates = 6;
  limits.max_control_backlog = 6;
  return limits;
}

std::span<const uint8_t> Span(std::string_view bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// A guard that has seen the preface and a first SETTINGS.
class Guarded {
 public:
  explicit Guarded(const Http2Limits& limits = SmallLimits()) : guard(limits, 0) {
    EXPECT_EQ(Client(std::string(kHttp2Preface)), Found());
    EXPECT_EQ(Client(Http2Frame(kSettings, 0, 0, "")), Found());
    EXPECT_EQ(Server(Http2Frame(kSettings, kAck, 0, "")), Found());
  }
  Found Client(const std::string& bytes) {
    const auto verdict = guard.FeedClient(Span(bytes), now_ms);
    EXPECT_TRUE(verdict.violation || verdict.forward == bytes.size());
    EXPECT_TRUE(guard.CheckIntegrity().ok());
    return verdict.violation;
  }
  Found Server(const std::string& bytes) {
    const Found found = guard.FeedServer(Span(bytes), now_ms);
    EXPECT_TRUE(guard.CheckIntegrity().ok());
    return found;
  }
  // The frame `count` times without complaint, then once more with `violation`.
  void ExpectLimit(const std::string& frame, int count, Http2Violation violation) {
    for (int i = 0; i < count; ++i) ASSERT_EQ(Client(frame), Found()) << i;
    EXPECT_EQ(Client(frame), violation);
  }
  Found Open(uint32_t stream, uint8_t flags = kEndHeaders) {
    return Client(Http2Frame(kHeaders, flags, stream, "h"));
  }

  Http2FrameGuard guard;
  int64_t now_ms = 0;
};

TEST(Http2FrameGuardTest, ThePrefaceComesFirstAndSettingsNext) {
  Http2FrameGuard wrong(SmallLimits(), 0);
  const auto verdict = wrong.FeedClient(Span("PRI * HTTP/2.0\r\n\r\nXX"), 0);
  EXPECT_EQ(verdict.violation, Http2Violation::kPreface);
  EXPECT_EQ(verdict.forward, 18U);
  for (const auto& first :
       {Http2Frame(kPing, 0, 0, "12345678"), Http2Frame(kSettings, kAck, 0, "")}) {
    Http2FrameGuard guard(SmallLimits(), 0);
    const auto second = guard.FeedClient(Span(std::string(kHttp2Preface) + first), 0);
    EXPECT_EQ(second.violation, Http2Violation::kPreface);
    // Nothing of the frame but a part of its header went on.
    EXPECT_EQ(second.forward, kHttp2Preface.size() + kHttp2FrameHeaderBytes - 1);
  }
}

TEST(Http2FrameGuardTest, ThePrefaceAndHeaderBlocksAreAwaitedForSoLong) {
  Http2FrameGuard guard(SmallLimits(), 1'000);
  EXPECT_EQ(guard.DueMs(), 1'100);
  EXPECT_EQ(guard.CheckTime(1'099), Found());
  EXPECT_EQ(guard.CheckTime(1'100), Http2Violation::kPreface);
  guard.FeedClient(Span(std::string(kHttp2Preface) + Http2Frame(kSettings, 0, 0, "")), 1'050);
  EXPECT_EQ(guard.CheckTime(9'999), Found());
  guard.FeedClient(Span(Http2Frame(kHeaders, 0, 1, "h")), 2'000);
  EXPECT_EQ(guard.CheckTime(2'199), Found());
  EXPECT_EQ(guard.CheckTime(2'200), Http2Violation::kContinuations);
  guard.FeedClient(Span(Http2Frame(kContinuation, kEndHeaders, 1, "h")), 2'100);
  EXPECT_EQ(guard.CheckTime(9'999), Found());
}

TEST(Http2FrameGuardTest, FramesHaveASize) {
  Guarded at;
  EXPECT_EQ(at.Open(1), Found());
  EXPECT_EQ(at.Client(Http2Frame(kData, 0, 1, std::string(64, 'd'))), Found());
  EXPECT_EQ(at.Client(Http2Frame(0x20, 0, 1, std::string(64, 'd'))), Found());
  EXPECT_EQ(at.Client(Http2Frame(0x20, 0, 1, std::string(65, 'd'))), Http2Violation::kFrameSize);
}

TEST(Http2FrameGuardTest, DataMayBeAsLargeAsTheServerAnnounced) {
  Guarded guarded;
  EXPECT_EQ(guarded.Open(1), Found());
  // The default of HTTP/2 is announced by saying nothing.
  EXPECT_EQ(guarded.Client(Http2Frame(kData, 0, 1, std::string(16384, 'd'))), Found());
  const std::string entries("\0\x03\0\0\0\x64\0\x05\0\0\x50\0", 12);
  EXPECT_EQ(guarded.Server(Http2Frame(kSettings, 0, 0, entries)), Found());
  EXPECT_EQ(guarded.Client(Http2Frame(kData, 0, 1, std::string(0x5000, 'd'))), Found());
  EXPECT_EQ(guarded.Client(Http2Frame(kData, 0, 1, std::string(0x5001, 'd'))),
            Http2Violation::kFrameSize);
}

TEST(Http2FrameGuardTest, HeaderBlocksAreBoundedByTheirLength) {
  Guarded one;
  EXPECT_EQ(one.Client(Http2Frame(kHeaders, kEndHeaders, 1, std::string(48, 'h'))), Found());
  EXPECT_EQ(one.Client(Http2Frame(kHeaders, kEndHeaders, 3, std::string(49, 'h'))),
            Http2Violation::kHeaderSize);
  Guarded sum;
  EXPECT_EQ(sum.Open(1, 0), Found());
  EXPECT_EQ(sum.Client(Http2Frame(kContinuation, 0, 1, std::string(46, 'h'))), Found());
  EXPECT_EQ(sum.Client(Http2Frame(kContinuation, 0, 1, "h")), Found());
  EXPECT_EQ(sum.Client(Http2Frame(kContinuation, 0, 1, "h")), Http2Violation::kHeaderSize);
  Guarded empty;
  EXPECT_EQ(empty.Open(1, 0), Found());
  empty.ExpectLimit(Http2Frame(kContinuation, 0, 1, ""), 3, Http2Violation::kContinuations);
}

TEST(Http2FrameGuardTest, HeaderBlocksAreNotInterrupted) {
  for (const auto& frame : {Http2Frame(kContinuation, 0, 3, "h"),
                            Http2Frame(kPing, 0, 0, "12345678"), Http2Frame(kData, 0, 1, "d")}) {
    Guarded guarded;
    EXPECT_EQ(guarded.Open(1, 0), Found());
    EXPECT_EQ(guarded.Client(frame), Http2Violation::kProtocol);
  }
}

TEST(Http2FrameGuardTest, StreamsAreCountedUntilBothSidesEnded) {
  Guarded guarded;
  for (uint32_t id = 1; id <= 9; id += 2) EXPECT_EQ(guarded.Open(id), Found());
  EXPECT_EQ(guarded.guard.open_streams(), 5);
  EXPECT_EQ(guarded.Client(Http2Frame(kData, kEndStream, 3, "d")), Found());
  EXPECT_EQ(guarded.guard.open_streams(), 5);
  EXPECT_EQ(guarded.Server(Http2Frame(kHeaders, kEndStream | kEndHeaders, 3, "h")), Found());
  EXPECT_EQ(guarded.guard.open_streams(), 4);
  EXPECT_EQ(guarded.Client(Http2Frame(kRst, 0, 5, "1234")), Found());
  EXPECT_EQ(guarded.Server(Http2Frame(kRst, 0, 7, "1234")), Found());
  EXPECT_EQ(guarded.guard.open_streams(), 2);
  for (uint32_t id = 11; id <= 15; id += 2) EXPECT_EQ(guarded.Open(id), Found());
  EXPECT_EQ(guarded.guard.last_stream(), 15U);
  EXPECT_EQ(guarded.Open(17), Http2Violation::kStreams);
  EXPECT_EQ(guarded.Client(Http2Frame(kSettings, 0, 0, "")), Http2Violation::kStreams);
}

TEST(Http2FrameGuardTest, NewStreamsPerWindow) {
  Guarded guarded;
  const auto call = [&](uint32_t id) {
    const Found found = guarded.Open(id, kEndHeaders | kEndStream);
    EXPECT_EQ(guarded.Server(Http2Frame(kHeaders, kEndStream | kEndHeaders, id, "h")), found);
    return found;
  };
  for (uint32_t i = 0; i < 20; ++i) ASSERT_EQ(call(1 + 2 * i), Found());
  guarded.now_ms = 1'000;  // the window's end
  for (uint32_t i = 20; i < 40; ++i) ASSERT_EQ(call(1 + 2 * i), Found());
  EXPECT_EQ(call(101), Http2Violation::kNewStreams);
}

TEST(Http2FrameGuardTest, ResetsOfBothSidesShareOneBudget) {
  Guarded guarded;
  for (uint32_t id = 1; id <= 3; id += 2) {
    EXPECT_EQ(guarded.Open(id), Found());
    EXPECT_EQ(guarded.Client(Http2Frame(kRst, 0, id, "1234")), Found());
  }
  for (uint32_t id = 5; id <= 7; id += 2) {
    EXPECT_EQ(guarded.Open(id), Found());
    EXPECT_EQ(guarded.Server(Http2Frame(kRst, 0, id, "1234")), Found());
  }
  EXPECT_EQ(guarded.Open(9), Found());
  EXPECT_EQ(guarded.Server(Http2Frame(kRst, 0, 9, "1234")), Http2Violation::kResets);
}

TEST(Http2FrameGuardTest, AClientsResetAfterTheWholeAnswerIsNotCounted) {
  Guarded guarded;
  for (uint32_t id = 1; id <= 37; id += 2) {
    EXPECT_EQ(guarded.Open(id), Found());
    EXPECT_EQ(guarded.Server(Http2Frame(kHeaders, kEndStream | kEndHeaders, id, "h")), Found());
    EXPECT_EQ(guarded.Client(Http2Frame(kRst, 0, id, "1234")), Found());
  }
  EXPECT_EQ(guarded.guard.open_streams(), 0);
}

TEST(Http2FrameGuardTest, ControlFramesPerWindow) {
  const std::string ping = Http2Frame(kPing, 0, 0, "12345678");
  const std::string ping_ack = Http2Frame(kPing, kAck, 0, "12345678");
  Guarded().ExpectLimit(ping, 3, Http2Violation::kPings);
  Guarded().ExpectLimit(ping_ack, 3, Http2Violation::kPings);
  Guarded().ExpectLimit(Http2Frame(kSettings, 0, 0, "123456"), 3, Http2Violation::kSettings);
  Guarded().ExpectLimit(Http2Frame(kSettings, kAck, 0, ""), 3, Http2Violation::kSettings);
  Guarded().ExpectLimit(Http2Frame(kGoaway, 0, 0, "12345678"), 3, Http2Violation::kSettings);
  Guarded().ExpectLimit(Http2Frame(kPriority, 0, 99, "12345"), 3, Http2Violation::kPriority);
  Guarded().ExpectLimit(Http2Frame(0x55, 0, 0, "unknown"), 3, Http2Violation::kPriority);
  Guarded().ExpectLimit(Http2Frame(kWindowUpdate, 0, 0, "1234"), 6, Http2Violation::kWindowUpdates);
  Guarded data;
  EXPECT_EQ(data.Open(1), Found());
  data.ExpectLimit(Http2Frame(kData, 0, 1, ""), 3, Http2Violation::kEmptyData);
  Guarded padded;
  EXPECT_EQ(padded.Open(1), Found());
  EXPECT_EQ(padded.Client(Http2Frame(kData, kPadded, 1,
                                     std::string("\x02"
                                                 "d\0\0",
                                                 4))),
            Found());
  padded.ExpectLimit(Http2Frame(kData, kPadded, 1, std::string("\x03\0\0\0", 4)), 3,
                     Http2Violation::kEmptyData);
}

TEST(Http2FrameGuardTest, CountsBeginAnewWithEachWindow) {
  const std::string ping = Http2Frame(kPing, 0, 0, "12345678");
  const std::string answer = Http2Frame(kPing, kAck, 0, "12345678");
  Guarded guarded;
  for (int window = 0; window < 5; ++window) {
    guarded.now_ms = window * 1'000;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(guarded.Client(ping), Found());
      EXPECT_EQ(guarded.Server(answer), Found());
    }
  }
  guarded.now_ms = 4'999;
  EXPECT_EQ(guarded.Client(ping), Http2Violation::kPings);
}

TEST(Http2FrameGuardTest, PingsAndWindowUpdatesThatAnswerDataAreFree) {
  Guarded guarded;
  EXPECT_EQ(guarded.Open(1), Found());
  const std::string ping = Http2Frame(kPing, 0, 0, "12345678");
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(guarded.Server(Http2Frame(kData, 0, 1, "d")), Found());
    EXPECT_EQ(guarded.Client(ping + Http2Frame(kWindowUpdate, 0, 0, "1234") +
                             Http2Frame(kWindowUpdate, 0, 1, "1234")),
              Found());
    EXPECT_EQ(guarded.Server(Http2Frame(kPing, kAck, 0, "12345678")), Found());
  }
  guarded.ExpectLimit(ping, 3, Http2Violation::kPings);
}

TEST(Http2FrameGuardTest, AcknowledgementsThatAreOwedAreFree) {
  Guarded guarded;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(guarded.Server(Http2Frame(kPing, 0, 0, "12345678") + Http2Frame(kSettings, 0, 0, "")),
              Found());
    EXPECT_EQ(
        guarded.Client(Http2Frame(kPing, kAck, 0, "12345678") + Http2Frame(kSettings, kAck, 0, "")),
        Found());
  }
  guarded.ExpectLimit(Http2Frame(kPing, kAck, 0, "12345678"), 3, Http2Violation::kPings);
}

TEST(Http2FrameGuardTest, UnansweredControlFramesAreBounded) {
  Http2Limits limits = SmallLimits();
  limits.max_pings = 100;
  Guarded guarded(limits);
  guarded.ExpectLimit(Http2Frame(kPing, 0, 0, "12345678"), 6, Http2Violation::kBacklog);
}

TEST(Http2FrameGuardTest, FramesOutOfPlaceAreRefused) {
  const std::string frames[] = {
      Http2Frame(kData, 0, 0, "d"),
      Http2Frame(kData, 0, 2, "d"),
      Http2Frame(kData, 0, 3, "d"),
      Http2Frame(kHeaders, kEndHeaders, 0, "h"),
      Http2Frame(kHeaders, kEndHeaders, 2, "h"),
      Http2Frame(kPriority, 0, 0, "12345"),
      Http2Frame(kRst, 0, 0, "1234"),
      Http2Frame(kRst, 0, 3, "1234"),
      Http2Frame(kRst, 0, 1, "12345"),
      Http2Frame(kSettings, 0, 1, ""),
      Http2Frame(kSettings, 0, 0, "12345"),
      Http2Frame(kSettings, kAck, 0, "123456"),
      Http2Frame(kPush, kEndHeaders, 1, "1234"),
      Http2Frame(kPing, 0, 1, "12345678"),
      Http2Frame(kPing, 0, 0, "1234567"),
      Http2Frame(kGoaway, 0, 1, "12345678"),
      Http2Frame(kGoaway, 0, 0, "1234567"),
      Http2Frame(kWindowUpdate, 0, 0, "12345"),
      Http2Frame(kWindowUpdate, 0, 3, "1234"),
      Http2Frame(kContinuation, kEndHeaders, 1, "h"),
  };
  for (const std::string& frame : frames) {
    Guarded guarded;
    EXPECT_EQ(guarded.Open(1), Found());
    EXPECT_EQ(guarded.Client(frame), Http2Violation::kProtocol)
        << "type " << int{frame[3]} << " length " << frame.size() - 9 << " stream "
        << int{frame[8]};
  }
}

// Room for bodies, and frames large enough to fill it.
Http2Limits BodyLimits() {
  Http2Limits limits = SmallLimits();
  limits.max_frame_bytes = 16 << 10;
  limits.body_timeout_ms = 300;
  return limits;
}

constexpr int64_t kBodyFrame = 16 << 10;

TEST(Http2FrameGuardTest, BodiesAreHeldUntilTheirStreamEnds) {
  const std::string full = std::string(kBodyFrame, 'x');
  for (const int how : {0, 1, 2, 3}) {
    Guarded guarded(BodyLimits());
    ASSERT_EQ(guarded.Open(1), Found());
    ASSERT_EQ(guarded.Open(3), Found());
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, full)), Found());
      ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 3, full)), Found());
    }
    EXPECT_EQ(guarded.guard.held_bytes(), 0);  // exactly what is free
    ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, "x")), Found());
    ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 3, full)), Found());
    EXPECT_EQ(guarded.guard.held_bytes(), kBodyFrame + 1);
    const std::string code("\0\0\0\x08", 4);
    Found found;
    if (how == 0) found = guarded.Client(Http2Frame(kData, kEndStream, 3, full));
    if (how == 1) found = guarded.Client(Http2Frame(kRst, 0, 3, code));
    if (how == 2) found = guarded.Server(Http2Frame(kRst, 0, 3, code));
    if (how == 3) found = guarded.Server(Http2Frame(kHeaders, kEndHeaders | kEndStream, 3, "h"));
    ASSERT_EQ(found, Found());
    EXPECT_EQ(guarded.guard.held_bytes(), 1) << how;
  }
}

TEST(Http2FrameGuardTest, HeldBodiesMustGetOn) {
  Guarded guarded(BodyLimits());
  ASSERT_EQ(guarded.Open(1), Found());
  const std::string full = std::string(kBodyFrame, 'x');
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, full)), Found());
  }
  guarded.now_ms = 10'000;
  EXPECT_EQ(guarded.guard.CheckTime(guarded.now_ms), Found());  // nothing is held yet
  ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, "x")), Found());
  EXPECT_EQ(guarded.guard.DueMs(), 10'300);
  guarded.now_ms = 10'200;
  // Less than counts as progress.
  const std::string little(Http2Streams::kProgressBytes - 2, 'x');
  ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, little)), Found());
  EXPECT_EQ(guarded.guard.DueMs(), 10'300);
  ASSERT_EQ(guarded.Client(Http2Frame(kData, 0, 1, "xx")), Found());
  EXPECT_EQ(guarded.guard.DueMs(), 10'500);
  EXPECT_EQ(guarded.guard.CheckTime(10'499), Found());
  EXPECT_EQ(guarded.guard.CheckTime(10'500), Http2Violation::kBodyTimeout);
  ASSERT_EQ(guarded.Client(Http2Frame(kData, kEndStream, 1, "")), Found());
  EXPECT_EQ(guarded.guard.CheckTime(20'000), Found());
}

TEST(Http2FrameGuardTest, KnowsWhenTheServerIsBetweenFrames) {
  Guarded guarded;
  const std::string frame = Http2Frame(kData, 0, 1, "payload");
  EXPECT_TRUE(guarded.guard.server_at_boundary());
  for (size_t i = 0; i + 1 < frame.size(); ++i) {
    EXPECT_EQ(guarded.Server(frame.substr(i, 1)), Found());
    EXPECT_FALSE(guarded.guard.server_at_boundary());
  }
  EXPECT_EQ(guarded.Server(frame.substr(frame.size() - 1)), Found());
  EXPECT_TRUE(guarded.guard.server_at_boundary());
}

// Random frames, in random pieces: what is forwarded, and why it ends, is the same.
TEST(Http2FrameGuardTest, SplitsDoNotMatter) {
  std::mt19937 random(7);
  int violations = 0;
  for (int round = 0; round < 3'000; ++round) {
    std::string bytes(kHttp2Preface);
    bytes += Http2Frame(kSettings, 0, 0, "");
    for (int i = 0; i < 12; ++i) {
      const auto stream = static_cast<uint32_t>(random() % 8);
      bytes += Http2Frame(static_cast<uint8_t>(random() % 11), static_cast<uint8_t>(random() % 16),
                          random() % 4 == 0 ? 0 : stream | 1, std::string(random() % 12, '\1'));
    }
    Http2FrameGuard whole(SmallLimits(), 0);
    const auto expected = whole.FeedClient(Span(bytes), 0);
    Http2FrameGuard split(SmallLimits(), 0);
    size_t forwarded = 0;
    Found found;
    for (size_t at = 0; at < bytes.size() && !found;) {
      const size_t piece = std::min<size_t>(1 + random() % 7, bytes.size() - at);
      const auto verdict = split.FeedClient(Span(std::string_view(bytes).substr(at, piece)), 0);
      forwarded += verdict.forward;
      found = verdict.violation;
      at += piece;
    }
    ASSERT_EQ(forwarded, expected.forward);
    ASSERT_EQ(found, expected.violation);
    ASSERT_EQ(split.open_streams(), whole.open_streams());
    violations += found.has_value() ? 1 : 0;
  }
  EXPECT_GT(violations, 1'000);  // the draws reach what they are to test
}

}  // namespace
}  // namespace inferd::net
