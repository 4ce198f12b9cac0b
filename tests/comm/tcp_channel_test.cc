// Who is let in over TCP, and what becomes of those who are not.
#include "inferd/comm/tcp_channel.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include "comm/channels.h"
#include "comm/frame.h"
#include "comm/handshake.h"
#include "comm/relay.h"

namespace inferd {
namespace {

bool ReadAll(int fd, std::span<std::byte> bytes) {
  return recv(fd, bytes.data(), bytes.size(), MSG_WAITALL) == static_cast<ssize_t>(bytes.size());
}

// The engine waits for one rank, which differs; the engine's status.
Status EngineMeets(const std::function<void(TcpChannelOptions&)>& change) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.channel.epoch = 7;
  options.timeout_us = 500'000;
  std::thread rank([options, &change, &clock]() mutable {
    change(options);
    SystemEntropy entropy;
    const auto channel = ConnectTcpChannel(options, 0, entropy, clock);
    EXPECT_EQ(channel.status().code(), StatusCode::kDeadlineExceeded);
  });
  SystemEntropy entropy;
  const Status status = AcceptTcpChannels(options, listener.fd, entropy, clock).status();
  rank.join();
  return status;
}

TEST(TcpChannelTest, RefusesOtherKeysEpochsAndShapes) {
  const std::vector<std::pair<std::string, std::function<void(TcpChannelOptions&)>>> cases = {
      {"wrong key", [](TcpChannelOptions& o) { o.key += "!"; }},
      {"epoch 6", [](TcpChannelOptions& o) { o.channel.epoch = 6; }},
      {"number of ranks", [](TcpChannelOptions& o) { o.num_ranks = 2; }},
      {"another time-out", [](TcpChannelOptions& o) { o.silence_us = 1'000'000; }},
      {"longest message", [](TcpChannelOptions& o) { o.channel.max_message_bytes = 1; }},
  };
  for (const auto& [what, change] : cases) {
    const Status status = EngineMeets(change);
    EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
    EXPECT_NE(status.message().find("rank 0"), std::string::npos) << status.ToString();
  }
}

TEST(TcpChannelTest, AKeyThatIsTooShortAndAnAddressThatIsNotOneAreRefused) {
  const SystemClock clock;
  SystemEntropy entropy;
  TcpChannelOptions options = TcpOptions("127.0.0.1:1");
  options.silence_us = 99'999;
  EXPECT_EQ(AcceptTcpChannels(options, -1, entropy, clock).status().code(),
            StatusCode::kInvalidArgument);
  options.silence_us = 0;
  options.key = "fifteen bytes..";
  EXPECT_EQ(AcceptTcpChannels(options, -1, entropy, clock).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(ConnectTcpChannel(options, 0, entropy, clock).status().code(),
            StatusCode::kInvalidArgument);
  for (const std::string address : {"0.0.0.0:0", "[::]:0", ":0", "127.0.0.1"}) {
    EXPECT_EQ(AcceptTcpChannels(TcpOptions(address), -1, entropy, clock).status().code(),
              StatusCode::kInvalidArgument)
        << address;
  }
  options = TcpOptions("127.0.0.1:1");
  EXPECT_EQ(ConnectTcpChannel(options, 1, entropy, clock).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(TcpChannelTest, ARankMayTakeTheEpochOfTheEngine) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.num_ranks = 2;
  options.channel.epoch = 12;
  OnThreads(3, [&](int who) {
    SystemEntropy entropy;
    if (who == 2) {
      auto channels = AcceptTcpChannels(options, listener.fd, entropy, clock);
      ASSERT_TRUE(channels.ok()) << channels.status().ToString();
      for (uint32_t r = 0; r < 2; ++r) {
        const auto message = (*channels)[r]->Receive(kLongUs);
        ASSERT_TRUE(message.ok()) << message.status().ToString();
        EXPECT_EQ(message->kind, r);
      }
      return;
    }
    TcpChannelOptions mine = options;
    mine.channel.epoch = kEpochOfEngine;
    auto channel = ConnectTcpChannel(mine, who, entropy, clock);
    ASSERT_TRUE(channel.ok()) << channel.status().ToString();
    EXPECT_EQ((*channel)->epoch(), 12U);
    EXPECT_TRUE((*channel)->Send(static_cast<uint32_t>(who), {}).ok());
    EXPECT_FALSE((*channel)->Receive(kLongUs).ok());  // until the engine leaves
  });
}

// A rank, with things that happen at the engine's door before it comes.
void RankComesAfter(const std::function<void(const std::string& address)>& before) {
  const SystemClock clock;
  const Listener listener;
  const TcpChannelOptions options = TcpOptions(listener.address);
  std::thread rank([&] {
    before(listener.address);
    SystemEntropy entropy;
    auto channel = ConnectTcpChannel(options, 0, entropy, clock);
    ASSERT_TRUE(channel.ok()) << channel.status().ToString();
    EXPECT_TRUE((*channel)->Send(1, BytesOfSize(10)).ok());
    EXPECT_FALSE((*channel)->Receive(kLongUs).ok());
  });
  SystemEntropy entropy;
  auto channels = AcceptTcpChannels(options, listener.fd, entropy, clock);
  EXPECT_TRUE(channels.ok()) << channels.status().ToString();
  if (channels.ok()) {
    EXPECT_TRUE(channels->front()->Receive(kLongUs).ok());
    channels->clear();
  }
  rank.join();
}

TEST(TcpChannelTest, StrangersAreCutOffAndKeepNobodyOut) {
  std::vector<int> strangers;
  RankComesAfter([&](const std::string& address) {
    const auto rubbish = BytesOfSize(4096);
    for (int i = 0; i < 200; ++i) {
      const int fd = ConnectTo(address);
      if (i % 2 == 0) (void)send(fd, rubbish.data(), rubbish.size(), MSG_NOSIGNAL);
      strangers.push_back(fd);
    }
  });
  // They learn at most the engine's hello, then the end.
  for (const int fd : strangers) {
    std::array<std::byte, 1000> said;
    ssize_t total = 0;
    for (;;) {
      const ssize_t n = recv(fd, said.data(), said.size(), 0);
      if (n <= 0) break;
      total += n;
    }
    EXPECT_LE(total, static_cast<ssize_t>(sizeof(Hello)));
    close(fd);
  }
}

// A rank that is slow between its hello and its proof, and more strangers meanwhile than are
// let in at once.
void SlowRankIsLetIn(const std::string& strangers_from, bool strangers_greet) {
  const SystemClock clock;
  const Listener listener;
  const TcpChannelOptions options = TcpOptions(listener.address);
  std::thread others([&] {
    Hello hello;
    hello.role = HelloRole::kEngineRank;
    hello.world_size = 1;
    hello.epoch = options.channel.epoch;
    hello.size = static_cast<uint64_t>(options.channel.max_message_bytes);
    const Handshake::Judge judge = [](const Hello&) { return std::string(); };
    SystemEntropy entropy;
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
    Handshake rank(UniqueFd(pair[0]), Handshake::End::kConnects, hello, options.key, judge,
                   entropy);
    const UniqueFd between(pair[1]);  // where this test holds up what the two say
    const UniqueFd engine(ConnectTo(listener.address));
    const auto pass_on = [](int from, int to, size_t size) {
      std::vector<std::byte> bytes(size);
      return ReadAll(from, bytes) &&
             send(to, bytes.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
    };
    ASSERT_EQ(rank.Step(), Handshake::State::kGoing);
    ASSERT_TRUE(pass_on(between.get(), engine.get(), sizeof(Hello)));
    Hello of_engine;
    ASSERT_TRUE(ReadAll(engine.get(), std::as_writable_bytes(std::span(&of_engine, 1))));
    std::byte byte;
    std::vector<UniqueFd> strangers;
    for (int i = 0; i < 3 * kMaxRanks; ++i) {
      strangers.emplace_back(ConnectTo(listener.address, strangers_from));
      const Hello greeting;
      const size_t said = strangers_greet ? sizeof(greeting) : 1;
      (void)send(strangers.back().get(), &greeting, said, MSG_NOSIGNAL);
      // It is inside once it is told the engine's hello.
      (void)recv(strangers.back().get(), &byte, 1, 0);
    }
    ASSERT_EQ(send(between.get(), &of_engine, sizeof(Hello), 0), ssize_t{sizeof(Hello)});
    ASSERT_EQ(rank.Step(), Handshake::State::kGoing);
    ASSERT_TRUE(pass_on(between.get(), engine.get(), sizeof(HmacTag)));
    EXPECT_TRUE(pass_on(engine.get(), between.get(), sizeof(HmacTag))) << "it was pushed out";
    EXPECT_EQ(rank.Step(), Handshake::State::kDone) << rank.refusal();
  });
  TcpChannelOptions mine = options;
  mine.timeout_us = 5'000'000;
  SystemEntropy entropy;
  const auto channels = AcceptTcpChannels(mine, listener.fd, entropy, clock);
  EXPECT_TRUE(channels.ok()) << channels.status().ToString();
  others.join();
}

TEST(TcpChannelTest, StrangersOfAnotherAddressPushOutEachOther) {
  SlowRankIsLetIn("127.0.0.2", /*strangers_greet=*/true);
}

TEST(TcpChannelTest, StrangersOfTheSameAddressWhoSayNothingGoFirst) {
  SlowRankIsLetIn("127.0.0.1", /*strangers_greet=*/false);
}

TEST(TcpChannelTest, WhatTheEngineSaidIsNoProof) {
  RankComesAfter([](const std::string& address) {
    // Its own hello comes back to it; then its tag would, if it gave one.
    const int fd = ConnectTo(address);
    Hello hello;
    ASSERT_TRUE(ReadAll(fd, std::as_writable_bytes(std::span(&hello, 1))));
    ASSERT_EQ(send(fd, &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
    const auto tag = BytesOfSize(sizeof(HmacTag));
    ASSERT_EQ(send(fd, tag.data(), tag.size(), 0), static_cast<ssize_t>(tag.size()));
    std::byte byte;
    EXPECT_LE(recv(fd, &byte, 1, 0), 0);
    close(fd);
  });
}

TEST(TcpChannelTest, ARankOfAnotherVersionIsTurnedAwayBeforeItsProof) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.timeout_us = 400'000;
  std::thread old([&] {
    const int fd = ConnectTo(listener.address);
    Hello hello;
    hello.version = Hello::kVersion + 1;
    EXPECT_EQ(send(fd, &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
    Hello theirs;
    EXPECT_TRUE(ReadAll(fd, std::as_writable_bytes(std::span(&theirs, 1))));
    std::byte byte;
    EXPECT_LE(recv(fd, &byte, 1, 0), 0);
    close(fd);
  });
  SystemEntropy entropy;
  const Status status = AcceptTcpChannels(options, listener.fd, entropy, clock).status();
  old.join();
  EXPECT_NE(status.message().find("version " + std::to_string(Hello::kVersion + 1)),
            std::string::npos)
      << status.ToString();
}

// A rank sends one message through `relay`; what the engine receives.
Status ThroughRelay(const Listener& listener, Relay& relay) {
  const SystemClock clock;
  Status received;
  OnThreads(2, [&](int who) {
    SystemEntropy entropy;
    if (who == 0) {
      auto channels = AcceptTcpChannels(TcpOptions(listener.address), listener.fd, entropy, clock);
      ASSERT_TRUE(channels.ok()) << channels.status().ToString();
      received = channels->front()->Receive(kLongUs).status();
      return;
    }
    auto channel = ConnectTcpChannel(TcpOptions(relay.address()), 0, entropy, clock);
    ASSERT_TRUE(channel.ok()) << channel.status().ToString();
    EXPECT_TRUE((*channel)->Send(1, BytesOfSize(100)).ok());
    EXPECT_FALSE((*channel)->Receive(kLongUs).ok());
  });
  relay.Join();
  return received;
}

TEST(TcpChannelTest, ABitFlippedOnTheWayBreaksTheChannel) {
  constexpr int64_t kGreeting = sizeof(Hello) + sizeof(HmacTag);
  const std::vector<std::pair<int64_t, StatusCode>> cases = {
      {-1, StatusCode::kOk},
      {kGreeting + 3, StatusCode::kDataLoss},
      {kGreeting + int64_t{sizeof(FrameHeader)} + 99, StatusCode::kDataLoss}};
  for (const auto& [at, code] : cases) {
    const Listener listener;
    Relay relay(listener.address, at);
    const Status status = ThroughRelay(listener, relay);
    EXPECT_EQ(status.code(), code) << status.ToString();
  }
}

// The nonces are new each time, so neither the hello nor the messages fit again.
TEST(TcpChannelTest, AReplayedRankIsRefused) {
  const Listener listener;
  Relay relay(listener.address, -1);
  EXPECT_TRUE(ThroughRelay(listener, relay).ok());
  const SystemClock clock;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.timeout_us = 500'000;
  std::thread replay([&] {
    const int fd = ConnectTo(listener.address);
    EXPECT_GT(send(fd, relay.said().data(), relay.said().size(), MSG_NOSIGNAL), 0);
    std::array<std::byte, 100> bytes;
    while (recv(fd, bytes.data(), bytes.size(), 0) > 0) {
    }
    close(fd);
  });
  SystemEntropy entropy;
  const Status status = AcceptTcpChannels(options, listener.fd, entropy, clock).status();
  replay.join();
  EXPECT_NE(status.message().find("wrong key"), std::string::npos) << status.ToString();
}

TEST(TcpChannelTest, ARankThatIsGoneMakesRoomForTheNext) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.num_ranks = 2;
  std::thread ranks([&] {
    SystemEntropy entropy;
    { EXPECT_TRUE(ConnectTcpChannel(options, 0, entropy, clock).ok()); }
    auto again = ConnectTcpChannel(options, 0, entropy, clock);
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_TRUE((*again)->Send(7, {}).ok());
    EXPECT_TRUE(ConnectTcpChannel(options, 1, entropy, clock).ok());
  });
  SystemEntropy entropy;
  auto channels = AcceptTcpChannels(options, listener.fd, entropy, clock);
  ASSERT_TRUE(channels.ok()) << channels.status().ToString();
  const auto message = (*channels)[0]->Receive(kLongUs);
  EXPECT_TRUE(message.ok()) << message.status().ToString();
  ranks.join();
}

TEST(TcpChannelTest, NobodyIsWaitedForOnceToldSo) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.timeout_us = 3'600'000'000;
  SystemEntropy entropy;
  int looks = 0;
  const auto goes_on = [&] {
    return ++looks < 3 ? OkStatus() : Status(StatusCode::kAborted, "stopping");
  };
  const auto channels = AcceptTcpChannels(options, listener.fd, entropy, clock, goes_on);
  EXPECT_EQ(channels.status().code(), StatusCode::kAborted);
}

TEST(TcpChannelTest, OfTwoRanksWithOneNumberTheFirstStays) {
  const SystemClock clock;
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.num_ranks = 2;
  std::atomic<int> refused{0};
  OnThreads(4, [&](int who) {
    SystemEntropy entropy;
    if (who == 0) {
      auto channels = AcceptTcpChannels(options, listener.fd, entropy, clock);
      ASSERT_TRUE(channels.ok()) << channels.status().ToString();
      EXPECT_TRUE((*channels)[0]->Receive(kLongUs).ok());
      return;
    }
    if (who == 3) {  // rank 1 comes last
      while (refused == 0) std::this_thread::yield();
      EXPECT_TRUE(ConnectTcpChannel(options, 1, entropy, clock).ok());
      return;
    }
    TcpChannelOptions mine = options;
    mine.timeout_us = 3'000'000;
    auto channel = ConnectTcpChannel(mine, 0, entropy, clock);
    if (channel.ok()) {
      EXPECT_TRUE((*channel)->Send(1, {}).ok());
      EXPECT_FALSE((*channel)->Receive(kLongUs).ok());
    } else {
      EXPECT_EQ(channel.status().code(), StatusCode::kDeadlineExceeded);
      ++refused;
    }
  });
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace inferd
