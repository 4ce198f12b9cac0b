// Hostile HTTP/2 clients against a real gRPC server behind the listener: each is
// ended for the right reason, memory stays, and another client is served meanwhile.
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include "grpc_harness.h"
#include "net/shared_pace.h"
#include "raw_client.h"
#include "support/sanitizers.h"

namespace inferd::net {
namespace {

using std::chrono::steady_clock;

// An address sanitizer keeps what was freed.
constexpr int64_t kMaxGrowthBytes = (testing::kSanitized ? 1024 : 8) << 20;
// A neighbour's p99 may at most double, and this much more, which is what a machine
// busy with other things adds to anything. What is measured is printed.
constexpr double kSlackMs = 1'000;
constexpr double kBackMs = 1'000;               // until a newcomer is served again, slack aside
constexpr const char* kAttacker = "127.0.0.2";  // the neighbours are 127.0.0.1
constexpr auto kFloodTime = std::chrono::milliseconds(700);

// What is in use: pages that the allocator merely keeps are handed back first.
int64_t RssBytes() {
  ::malloc_trim(0);
  std::ifstream file("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

ListenerOptions Options() {
  ListenerOptions options;
  options.address = "127.0.0.1:0";
  return options;
}

// 99th percentile of echo calls until `stop`, in ms.
double NeighbourP99(grpc::GenericStub& stub, const std::atomic<bool>& stop, int& failures) {
  std::vector<double> times;
  while (!stop || times.size() < 50) {
    const auto begin = steady_clock::now();
    failures += Echo(stub, "ping").status.ok() ? 0 : 1;
    times.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() * 99 / 100];
}

std::string Opening() { return std::string(kHttp2Preface) + Http2Frame(4, 0, 0, ""); }

bool EndsWithGoaway(const std::string& bytes, std::string_view reason) {
  const std::string payload = std::string("\0\0\0\x0b", 4) + std::string(reason);
  return bytes.size() > payload.size() && bytes.ends_with(payload);
}

struct Abuse {
  std::string name;
  Http2Violation violation;
  // What is sent over and over after the opening; the stream's number is put in.
  std::string (*round)(uint32_t stream);
  // Sent once before.
  std::string (*once)() = [] { return std::string(); };
  // Whether to wait after each burst until the server has reset its streams.
  bool await_resets = false;
};

std::string Headers(uint32_t stream, uint8_t flags = 4) {
  return Http2Frame(1, flags, stream, GrpcRequestBlock("/t/Echo"));
}

class AbuseTest : public ::testing::TestWithParam<Abuse> {};

// One connection's worth of abuse; returns what the server said, if it was read.
std::string Attack(int port, const Abuse& abuse, bool read) {
  RawClient client;
  if (!client.Bind(kAttacker) || !client.Connect(port) || !client.Send(Opening() + abuse.once()))
    return {};
  uint32_t stream = 1;
  for (int burst = 0; burst < 2'000; ++burst) {
    std::string bytes;
    for (int i = 0; i < 50; ++i, stream += 2) bytes += abuse.round(stream);
    if (!client.Send(bytes, 300)) break;
    for (int i = 0; abuse.await_resets && i < 50; ++i) {
      const std::string reset("\0\0\4\3\0", 5);
      std::string answer = client.ReadUntil(reset);
      if (!answer.ends_with(reset)) return answer;
    }
    // The listener closed its sending side: what follows is not heard.
    if (read && burst % 4 == 3) {
      const std::string answer = client.ReadUntil("nothing says this", 0);
      if (answer.size() > 17 &&
          answer.find(Http2ViolationName(abuse.violation)) != std::string::npos) {
        return answer;
      }
    }
  }
  return read ? client.ReadAll(2'000) : std::string();
}

// Ends one connection of `source` for PUSH_PROMISE, which no client may send.
bool Offend(int port, const char* source) {
  RawClient client;
  return client.Bind(source) && client.Connect(port) &&
         client.Send(Opening() + Http2Frame(5, 0, 1, "1234")) &&
         EndsWithGoaway(client.ReadAll(), "protocol");
}

// Whether HTTP/2 is spoken with a new connection of `source`.
bool IsAnswered(int port, const char* source) {
  RawClient client;
  return client.Bind(source) && client.Connect(port) &&
         client.Send(Opening() + Http2Frame(6, 0, 0, "12345678")) &&
         client.ReadUntil("12345678").ends_with("12345678");
}

TEST_P(AbuseTest, IsEndedAndNobodyElseSuffers) {
  const Abuse& abuse = GetParam();
  GrpcHarness harness(Options());
  grpc::GenericStub neighbour(PlainChannel(harness.port()));
  int failures = 0;
  // Warms the process up: arenas, threads, the neighbour's connection.
  EXPECT_TRUE(EndsWithGoaway(Attack(harness.port(), abuse, /*read=*/true),
                             Http2ViolationName(abuse.violation)));
  const auto index = static_cast<size_t>(abuse.violation);
  EXPECT_EQ(harness.listener().Stats().http2_violations[index], 1);
  std::atomic<bool> stop = true;
  const double quiet_ms = NeighbourP99(neighbour, stop, failures);

  const int64_t rss_before = RssBytes();
  stop = false;
  std::atomic<int> attacks{0};
  std::thread attacker([&] {
    const auto end = steady_clock::now() + kFloodTime;
    while (steady_clock::now() < end) {
      Attack(harness.port(), abuse, /*read=*/false);
      ++attacks;
    }
    stop = true;
  });
  const double busy_ms = NeighbourP99(neighbour, stop, failures);
  attacker.join();
  const auto end = steady_clock::now();
  EXPECT_TRUE(IsAnswered(harness.port(), "127.0.0.3"));
  const double back_ms =
      std::chrono::duration<double, std::milli>(steady_clock::now() - end).count();
  const int64_t growth = RssBytes() - rss_before;
  std::printf("%-22s %4d connections, RSS %+6.2f MiB, neighbour's p99 %.2f ms, quiet %.2f ms\n",
              abuse.name.c_str(), attacks.load(), static_cast<double>(growth) / (1 << 20), busy_ms,
              quiet_ms);
  EXPECT_EQ(failures, 0);
  EXPECT_GE(harness.listener().Stats().http2_violations[index], 2);
  // Who came again at once was shut out soon; a few connections more were on their way.
  EXPECT_LE(harness.listener().Stats().http2_violations[index], 3 * Http2Limits{}.max_violations);
  EXPECT_LE(growth, kMaxGrowthBytes);
  EXPECT_LE(busy_ms, 2 * quiet_ms + kSlackMs);
  EXPECT_LE(back_ms, kBackMs + kSlackMs);
}

INSTANTIATE_TEST_SUITE_P(
    All, AbuseTest,
    ::testing::Values(
        Abuse{"continuation_flood", Http2Violation::kContinuations,
              [](uint32_t) { return Http2Frame(9, 0, 1, "x"); }, [] { return Headers(1, 0); }},
        Abuse{"large_header_block", Http2Violation::kHeaderSize,
              [](uint32_t) { return Http2Frame(9, 0, 1, std::string(16'000, '\0')); },
              [] { return Headers(1, 0); }},
        Abuse{"large_frame", Http2Violation::kFrameSize,
              [](uint32_t stream) { return Http2Frame(1, 0, stream, std::string(16'385, '\0')); }},
        Abuse{"rapid_reset", Http2Violation::kResets,
              [](uint32_t stream) {
                return Headers(stream) + Http2Frame(3, 0, stream, std::string("\0\0\0\x08", 4));
              }},
        Abuse{"server_made_reset", Http2Violation::kResets,
              [](uint32_t stream) {
                // Flags that gRPC does not know: it resets the stream.
                return Headers(stream) + Http2Frame(0, 0x20, stream, std::string("\0\0\0\0\0", 5));
              },
              [] { return std::string(); }, /*await_resets=*/true},
        Abuse{"ping_flood", Http2Violation::kPings,
              [](uint32_t) { return Http2Frame(6, 0, 0, "12345678"); }},
        Abuse{"settings_flood", Http2Violation::kSettings,
              [](uint32_t) { return Http2Frame(4, 0, 0, ""); }},
        Abuse{"empty_data_flood", Http2Violation::kEmptyData,
              [](uint32_t) { return Http2Frame(0, 0, 1, ""); }, [] { return Headers(1); }},
        Abuse{
            "priority_flood", Http2Violation::kPriority,
            [](uint32_t stream) { return Http2Frame(2, 0, stream, std::string("\0\0\0\0\1", 5)); }},
        Abuse{"window_update_flood", Http2Violation::kWindowUpdates,
              [](uint32_t) { return Http2Frame(8, 0, 0, std::string("\0\0\0\1", 4)); }},
        Abuse{"unending_streams", Http2Violation::kStreams,
              [](uint32_t stream) { return Headers(stream); }}),
    [](const ::testing::TestParamInfo<Abuse>& test) { return test.param.name; });

TEST(SlowClientTest, ASlowPrefaceIsEndedInTime) {
  ListenerOptions options = Options();
  options.http2.preface_timeout_ms = 200;
  options.http2.header_block_timeout_ms = 200;
  GrpcHarness harness(options);
  RawClient preface(harness.port());
  ASSERT_TRUE(preface.Send(kHttp2Preface));
  RawClient block(harness.port());
  ASSERT_TRUE(block.Send(Opening() + Headers(1, 0)));
  EXPECT_TRUE(EndsWithGoaway(preface.ReadAll(2'000), "preface"));
  EXPECT_TRUE(EndsWithGoaway(block.ReadAll(2'000), "continuations"));
}

TEST(SlowClientTest, APrefaceByteByByteIsServed) {
  GrpcHarness harness(Options());
  RawClient client(harness.port());
  const std::string bytes = Opening();
  for (size_t i = 0; i < bytes.size(); ++i) {
    ASSERT_TRUE(client.Send(bytes.substr(i, 1)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(client.Send(Http2Frame(6, 0, 0, "12345678")));
  EXPECT_TRUE(client.ReadUntil("12345678").ends_with("12345678"));
  EXPECT_EQ(harness.listener().Stats().http2_connections, 1);
}

// A client that asks for endless streams with large windows and never reads.
TEST(SlowClientTest, AReaderThatTakesNothingCostsLittleAndIsGivenUp) {
  ListenerOptions options = Options();
  options.write_stall_timeout_ms = 1'000;
  GrpcHarness harness(options);
  grpc::GenericStub neighbour(PlainChannel(harness.port()));
  std::atomic<bool> stop = true;
  int failures = 0;
  NeighbourP99(neighbour, stop, failures);
  const int64_t rss_before = RssBytes();
  RawClient client(harness.port(), /*receive_buffer_bytes=*/4096);
  std::string bytes = std::string(kHttp2Preface) +
                      Http2Frame(4, 0, 0, std::string("\0\4\x7f\xff\xff\xff", 6)) +
                      Http2Frame(8, 0, 0, std::string("\x7f\xff\0\0", 4));
  for (uint32_t stream = 1; stream < 200; stream += 2) {
    bytes += Http2Frame(1, 4, stream, GrpcRequestBlock("/t/Count"));
    bytes += Http2Frame(0, 1, stream,
                        std::string("\0\0\0\0\7"
                                    "9999999",
                                    12));
  }
  ASSERT_TRUE(client.Send(bytes));
  const auto begin = steady_clock::now();
  while (harness.listener().Stats().stalled == 0 &&
         steady_clock::now() - begin < std::chrono::seconds(20)) {
    EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  }
  const int64_t growth = RssBytes() - rss_before;
  std::printf("%-22s RSS %+6.2f MiB\n", "slow_reader", static_cast<double>(growth) / (1 << 20));
  EXPECT_EQ(harness.listener().Stats().stalled, 1);
  EXPECT_LE(growth, kMaxGrowthBytes);
  EXPECT_TRUE(client.AwaitClose());
}

// The same with windows that stay shut: nothing is owed, so nothing is kept either.
TEST(SlowClientTest, AShutWindowCostsLittle) {
  GrpcHarness harness(Options());
  grpc::GenericStub neighbour(PlainChannel(harness.port()));
  EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  const int64_t rss_before = RssBytes();
  RawClient client(harness.port());
  std::string bytes =
      std::string(kHttp2Preface) + Http2Frame(4, 0, 0, std::string("\0\4\0\0\0\0", 6));
  for (uint32_t stream = 1; stream < 200; stream += 2) {
    bytes += Http2Frame(1, 4, stream, GrpcRequestBlock("/t/Count"));
    bytes += Http2Frame(0, 1, stream,
                        std::string("\0\0\0\0\7"
                                    "9999999",
                                    12));
  }
  ASSERT_TRUE(client.Send(bytes));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  EXPECT_LE(RssBytes() - rss_before, kMaxGrowthBytes);
}

TEST(ShutOutTest, WhoIsEndedTooOftenIsRefusedForAWhile) {
  ListenerOptions options = Options();
  options.http2.max_violations = 3;
  options.http2.window_ms = 3'600'000;
  options.http2.penalty_ms = 500;
  GrpcHarness harness(options);
  RawClient open;
  ASSERT_TRUE(open.Bind(kAttacker) && open.Connect(harness.port()) && open.Send(Opening()));
  EXPECT_FALSE(open.ReadUntil(std::string("\0\0\0\4\1", 5)).empty());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Offend(harness.port(), kAttacker));
  EXPECT_TRUE(IsAnswered(harness.port(), kAttacker));
  EXPECT_EQ(harness.listener().Stats().refused_shut_out, 0);
  EXPECT_TRUE(Offend(harness.port(), kAttacker));

  const auto shut_out_at = steady_clock::now();
  EXPECT_TRUE(IsAnswered(harness.port(), "127.0.0.1"));
  // What is open lives on.
  EXPECT_TRUE(open.Send(Http2Frame(6, 0, 0, "12345678")));
  EXPECT_TRUE(open.ReadUntil("12345678").ends_with("12345678"));
  // A machine that is slow enough to let the time pass must not fail this.
  const bool answered = IsAnswered(harness.port(), kAttacker);
  const bool in_time = steady_clock::now() - shut_out_at < std::chrono::milliseconds(450);
  EXPECT_FALSE(in_time && answered);
  EXPECT_EQ(harness.listener().Stats().refused_shut_out, answered ? 0 : 1);
  bool again = answered;
  for (int i = 0; i < 500 && !again; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    again = IsAnswered(harness.port(), kAttacker);
  }
  EXPECT_TRUE(again);
}

TEST(ShutOutTest, ResetsAreCountedOverAllConnectionsOfAnAddress) {
  ListenerOptions options = Options();
  options.http2.max_resets = 10;
  options.http2.max_violations = 2;
  options.http2.window_ms = 3'600'000;
  GrpcHarness harness(options);
  // No connection does enough to be ended itself: the server resets a stream once more at most.
  constexpr int kResets = 4;
  std::string bytes = Opening();
  for (int i = 0; i < kResets; ++i) {
    const auto stream = static_cast<uint32_t>(2 * i + 1);
    bytes += Headers(stream) + Http2Frame(3, 0, stream, std::string("\0\0\0\x08", 4));
  }
  bytes += Http2Frame(6, 0, 0, "12345678");
  int rounds = 0;
  while (rounds < 100) {
    RawClient client;
    ASSERT_TRUE(client.Bind(kAttacker) && client.Connect(harness.port()));
    if (!client.Send(bytes) || !client.ReadUntil("12345678").ends_with("12345678")) break;
    ++rounds;
  }
  // Twenty resets are allowed.
  EXPECT_GE(rounds, 20 / (2 * kResets));
  EXPECT_LE(rounds, 20 / kResets + 1);
  EXPECT_FALSE(IsAnswered(harness.port(), kAttacker));
  EXPECT_TRUE(IsAnswered(harness.port(), "127.0.0.1"));
  for (const int64_t count : harness.listener().Stats().http2_violations) EXPECT_EQ(count, 0);
}

// No address does enough to be shut out, nor any connection to be ended.
TEST(ResetPaceTest, ResetsOfManyAddressesWaitAndOthersDoNot) {
  ListenerOptions options = Options();
  options.http2.max_reset_rate = 10;
  GrpcHarness harness(options);
  std::string bytes = Opening();
  for (uint32_t stream = 1; stream < 60; stream += 2) {
    bytes += Headers(stream) + Http2Frame(3, 0, stream, std::string("\0\0\0\x08", 4));
  }
  bytes += Http2Frame(6, 0, 0, "12345678");
  const auto begin = steady_clock::now();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 1; i <= 4; ++i) {
    clients.push_back(std::make_unique<RawClient>());
    const std::string source = "127.0.1." + std::to_string(i);
    ASSERT_TRUE(clients.back()->Bind(source.c_str()) && clients.back()->Connect(harness.port()) &&
                clients.back()->Send(bytes));
  }
  EXPECT_TRUE(IsAnswered(harness.port(), "127.0.0.1"));
  // Thirty resets each, at ten a second: the last of them waits for the longest time.
  for (auto& client : clients) {
    EXPECT_TRUE(client->ReadUntil("12345678").ends_with("12345678"));
  }
  EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(SharedPace::kMaxWaitMs / 2));
  for (const int64_t count : harness.listener().Stats().http2_violations) EXPECT_EQ(count, 0);
}

TEST(ShutOutTest, HurriedConnectionsOfOneAddressAreRefused) {
  ListenerOptions options = Options();
  options.max_new_connections_per_address = 5;
  GrpcHarness harness(options);
  for (int i = 0; i < 100; ++i) {
    RawClient client;
    ASSERT_TRUE(client.Bind(kAttacker) && client.Connect(harness.port()));
  }
  EXPECT_TRUE(IsAnswered(harness.port(), "127.0.0.1"));
  const ListenerStats stats = harness.listener().Stats();
  EXPECT_GE(stats.refused_too_fast, 1);
  EXPECT_EQ(stats.accepted + stats.refused_too_fast, 101);
}

TEST(ConnectionFloodTest, OneAddressGetsItsShare) {
  ListenerOptions options = Options();
  options.max_connections_per_address = 64;
  GrpcHarness harness(options);
  grpc::GenericStub neighbour(PlainChannel(harness.port()));
  EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  const int64_t rss_before = RssBytes();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(std::make_unique<RawClient>(harness.port()));
    if (clients.back()->connected()) clients.back()->Send(Opening(), 100);
  }
  EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  const auto begin = steady_clock::now();
  const auto decided = [&] {
    const ListenerStats stats = harness.listener().Stats();
    return stats.accepted + stats.refused_per_address;
  };
  while (decided() < 301 && steady_clock::now() - begin < std::chrono::seconds(60)) {
    EXPECT_TRUE(Echo(neighbour, "ping").status.ok());
  }
  EXPECT_EQ(harness.listener().Stats().refused_per_address, 300 - 63);
  EXPECT_EQ(harness.listener().Stats().connections, 64);
  const int64_t growth = RssBytes() - rss_before;
  std::printf("%-22s RSS %+6.2f MiB for 63 connections\n", "connection_flood",
              static_cast<double>(growth) / (1 << 20));
  EXPECT_LE(growth, kMaxGrowthBytes);
}

}  // namespace
}  // namespace inferd::net
