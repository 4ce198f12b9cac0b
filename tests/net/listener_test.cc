// Accepting: addresses, caps, first bytes, stopping.
#include "inferd/net/listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "http1_harness.h"
#include "net/connection_caps.h"
#include "net/socket_address.h"
#include "raw_client.h"

namespace inferd::net {
namespace {

constexpr const char* kEcho = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr const char* kHold = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";

bool Served(RawClient& client) {
  return client.connected() && client.Send(kEcho) &&
         client.ReadAnswer().find("200 OK") != std::string::npos;
}

TEST(ListenerTest, AddressesAreParsedStrictly) {
  for (const char* bad : {"", "localhost", ":80", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536",
                          "1.2.3.4:-1", "::1:80", "unix:", "[::1]", "1.2.3.4:80x"}) {
    const auto result = OpenListener(bad);
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument) << bad;
  }
  const auto long_path = OpenListener("unix:/" + std::string(107, 'a'));
  ASSERT_FALSE(long_path.ok());
  EXPECT_EQ(long_path.status().code(), StatusCode::kInvalidArgument);
}

TEST(ListenerTest, ATakenPortIsAnErrorThatNamesIt) {
  const auto first = OpenListener("127.0.0.1:0");
  ASSERT_TRUE(first.ok());
  const std::string address = "127.0.0.1:" + std::to_string(first->port);
  const auto second = OpenListener(address);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find(address), std::string::npos);
}

TEST(ListenerTest, ThePortIsFreeAgainAtOnce) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  for (int i = 0; i < 3; ++i) {
    Http1Harness harness(options);
    options.address = "127.0.0.1:" + std::to_string(harness.port());
    RawClient client(harness.port());
    EXPECT_TRUE(Served(client));
  }
}

TEST(ListenerTest, TheIpv6AnyAddressTakesBothFamilies) {
  ListenerOptions options;
  options.address = "[::]:0";
  if (!OpenListener(options.address).ok()) GTEST_SKIP() << "no IPv6 here";
  Http1Harness harness(options);
  RawClient v4(harness.port());
  ASSERT_TRUE(v4.Send(kEcho));
  EXPECT_NE(v4.ReadAnswer().find("x-peer: 127.0.0.1:"), std::string::npos);
}

TEST(ListenerTest, AUnixSocketReplacesADeadOneOnly) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("inferd-net-" + std::to_string(::getpid()));
  ListenerOptions options;
  options.address = "unix:" + path;
  {
    // Left behind: bound, and nobody listens.
    const auto dead = OpenListener(options.address);
    ASSERT_TRUE(dead.ok());
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  {
    Http1Harness harness(options);
    EXPECT_EQ(harness.port(), 0);
    RawClient client(path);
    ASSERT_TRUE(client.Send(kEcho));
    EXPECT_NE(client.ReadAnswer().find("x-peer: unix\r\n"), std::string::npos);
    EXPECT_FALSE(OpenListener(options.address).ok());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ConnectionCapsTest, CountsInTotalAndPerAddress) {
  ConnectionCaps caps(4, 2);
  AddressKey a{.bytes = {10, 0, 0, 1}, .family = 4};
  AddressKey b{.bytes = {10, 0, 0, 2}, .family = 4};
  std::vector<ConnectionCaps::Answer> held;
  const auto take = [&](const AddressKey& key) {
    held.push_back(caps.Take(key));
    EXPECT_TRUE(caps.CheckIntegrity().ok());
    return held.back().refusal;
  };
  EXPECT_EQ(take(a), std::nullopt);
  EXPECT_EQ(take(a), std::nullopt);
  EXPECT_EQ(take(a), ConnectionCaps::Refusal::kAddress);
  EXPECT_EQ(take(b), std::nullopt);
  EXPECT_EQ(take(AddressKey{}), std::nullopt);
  EXPECT_EQ(take(b), ConnectionCaps::Refusal::kTotal);
  held.clear();
  EXPECT_EQ(caps.open(), 0);
  EXPECT_EQ(take(a), std::nullopt);
}

TEST(ListenerTest, ConnectionsPastTheCapsAreClosedAtOnce) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.max_connections_per_address = 3;
  Http1Harness harness(options);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(harness.port()));
    EXPECT_TRUE(Served(*clients.back()));
  }
  RawClient refused(harness.port());
  EXPECT_TRUE(refused.AwaitClose(1'000));
  EXPECT_EQ(harness.listener().Stats().refused_per_address, 1);
  EXPECT_TRUE(Served(*clients.front()));
  clients.pop_back();
  ASSERT_TRUE(harness.AwaitConnections(2));
  RawClient next(harness.port());
  EXPECT_TRUE(Served(next));

  options.max_connections = 2;
  Http1Harness small(options);
  RawClient one(small.port());
  RawClient two(small.port());
  EXPECT_TRUE(Served(one));
  EXPECT_TRUE(Served(two));
  RawClient three(small.port());
  EXPECT_TRUE(three.AwaitClose(1'000));
  EXPECT_EQ(small.listener().Stats().refused_total, 1);
}

TEST(ListenerTest, AClientThatSaysNothingIsClosed) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.handshake_timeout_ms = 150;
  Http1Harness harness(options);
  RawClient silent(harness.port());
  RawClient half(harness.port());
  ASSERT_TRUE(half.Send("PRI * HTTP"));
  EXPECT_TRUE(silent.AwaitClose(2'000));
  EXPECT_TRUE(half.AwaitClose(2'000));
  EXPECT_EQ(harness.listener().Stats().timed_out, 2);
}

TEST(ListenerTest, WhatIsNotServedIsClosed) {
  Http1Harness harness;  // without HTTP/2
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHttp2Preface));
  EXPECT_TRUE(client.AwaitClose(1'000));
}

TEST(ListenerTest, GarbageGets400) {
  Http1Harness harness;
  for (const std::string& garbage :
       {std::string("SSH-2.0-x\r\n"), std::string("\x16\x03\x01\x02\n", 5),
        std::string("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")}) {
    RawClient client(harness.port());
    ASSERT_TRUE(client.Send(garbage));
    const std::string answer = client.ReadAll();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "))
        << answer;
  }
}

TEST(ListenerTest, StoppingRefusesNewAndLetsAnswersFinish) {
  Http1Harness harness;
  RawClient idle(harness.port());
  EXPECT_TRUE(Served(idle));
  RawClient busy(harness.port());
  ASSERT_TRUE(busy.Send(kHold));
  auto held = harness.TakeHeld();
  harness.listener().StopAccepting();
  EXPECT_TRUE(idle.AwaitClose(1'000));
  EXPECT_FALSE(RawClient(harness.port()).connected());
  std::thread answer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.exchange->Respond({});
  });
  EXPECT_TRUE(harness.listener().Close(5'000));
  answer.join();
  EXPECT_NE(busy.ReadAll().find("connection: close"), std::string::npos);
  EXPECT_EQ(held.events->disconnects(), 0);
}

TEST(ListenerTest, ClosingCutsWhatTakesTooLong) {
  Http1Harness harness;
  RawClient busy(harness.port());
  ASSERT_TRUE(busy.Send(kHold));
  auto held = harness.TakeHeld();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(harness.listener().Close(100));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_TRUE(held.events->AwaitDisconnect());
  EXPECT_TRUE(busy.AwaitClose(1'000));
  EXPECT_EQ(harness.listener().Stats().connections, 0);
}

TEST(ListenerTest, AnExchangeMayOutliveItsListener) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  harness.DestroyListener();
  EXPECT_TRUE(held.events->AwaitDisconnect());
  held.exchange->StartStream({});
  held.exchange->Write("x");
  held.exchange->Finish(true);
  held.exchange.reset();
  EXPECT_EQ(held.events->disconnects(), 1);
}

TEST(ListenerTest, SeveralThreadsShareTheConnections) {
  Http1Harness harness(Http1Harness::LoopbackOptions(), nullptr, /*threads=*/3);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        RawClient client(harness.port());
        EXPECT_TRUE(Served(client));
        EXPECT_TRUE(Served(client));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(harness.listener().Stats().http1_requests, 240);
}

// Lowers the process's limit on descriptors while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit lowered = before_;
    lowered.rlim_cur = limit;
    ::setrlimit(RLIMIT_NOFILE, &lowered);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(ListenerTest, OutOfDescriptorsNewcomersAreClosedAndServiceComesBack) {
  Http1Harness harness;
  RawClient before(harness.port());
  EXPECT_TRUE(Served(before));
  // Sockets made beforehand: only the listener needs a descriptor from here on.
  std::vector<std::unique_ptr<RawClient>> newcomers;
  for (int i = 0; i < 20; ++i) newcomers.push_back(std::make_unique<RawClient>());
  RawClient later;
  {
    UniqueFd lowest_free(::dup(0));
    const DescriptorLimit limit(static_cast<rlim_t>(lowest_free.get()));
    lowest_free.Reset();
    for (auto& newcomer : newcomers) {
      ASSERT_TRUE(newcomer->Connect(harness.port()));
      EXPECT_TRUE(newcomer->AwaitClose(2'000));
    }
    EXPECT_GE(harness.listener().Stats().accept_errors, 20);
    EXPECT_TRUE(Served(before));
  }
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(later.Connect(harness.port()));
  EXPECT_TRUE(Served(later));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

}  // namespace
}  // namespace inferd::net
