// What holds for host channels of every kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "comm/channels.h"

namespace inferd {
namespace {

class HostChannelTest : public testing::TestWithParam<size_t> {
 protected:
  ChannelPair Make(const HostChannelOptions& options = {}) {
    return AllChannelKinds()[GetParam()].make(options, clock_);
  }
  SystemClock clock_;
};

// Takes `count` messages and compares them with those that Talk sends.
void Listen(HostChannel& channel, int count, uint32_t seed) {
  for (int i = 0; i < count; ++i) {
    const auto message = channel.Receive(kLongUs);
    ASSERT_TRUE(message.ok()) << message.status().ToString();
    const size_t size = static_cast<size_t>(i) * 97 % 20'000;
    EXPECT_EQ(message->kind, static_cast<uint32_t>(i) + seed);
    EXPECT_TRUE(std::ranges::equal(message->payload, BytesOfSize(size, seed)));
  }
}

void Talk(HostChannel& channel, int count, uint32_t seed) {
  for (int i = 0; i < count; ++i) {
    const size_t size = static_cast<size_t>(i) * 97 % 20'000;
    ASSERT_TRUE(channel.Send(static_cast<uint32_t>(i) + seed, BytesOfSize(size, seed)).ok());
  }
}

// Sizes from nothing to several times the ring, both ways at once.
TEST_P(HostChannelTest, MessagesArriveWholeAndInOrder) {
  const ChannelPair pair = Make();
  std::thread a([&] { Talk(*pair.engine, 400, 5); });
  std::thread b([&] { Listen(*pair.engine, 400, 9); });
  std::thread c([&] { Talk(*pair.rank, 400, 9); });
  Listen(*pair.rank, 400, 5);
  a.join();
  b.join();
  c.join();
}

TEST_P(HostChannelTest, ALongestMessagePassesAndALongerOneBreaksNothing) {
  HostChannelOptions options;
  options.max_message_bytes = 3 << 20;
  const ChannelPair pair = Make(options);
  const auto longest = BytesOfSize(3 << 20);
  std::thread sender([&] {
    EXPECT_EQ(pair.engine->Send(1, BytesOfSize((3 << 20) + 1)).code(),
              StatusCode::kInvalidArgument);
    EXPECT_TRUE(pair.engine->Send(2, longest).ok());
  });
  const auto message = pair.rank->Receive(kLongUs);
  sender.join();
  ASSERT_TRUE(message.ok()) << message.status().ToString();
  EXPECT_EQ(message->kind, 2U);
  EXPECT_TRUE(std::ranges::equal(message->payload, longest));
}

TEST_P(HostChannelTest, ATimeOutOfReceiveBreaksNothing) {
  const ChannelPair pair = Make();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.rank->Receive(i * 1000).status().code(), StatusCode::kDeadlineExceeded);
  }
  Talk(*pair.engine, 2, 1);
  Listen(*pair.rank, 2, 1);
}

TEST_P(HostChannelTest, ASenderWhomNobodyHearsGivesUpAndBreaksTheChannel) {
  HostChannelOptions options;
  options.send_timeout_us = 50'000;
  const ChannelPair pair = Make(options);
  const auto bytes = BytesOfSize(16 << 20);  // more than a connection holds
  Status status;  // some channels hold more than a connection, all an end
  for (int i = 0; i < 8 && status.ok(); ++i) status = pair.engine->Send(1, bytes);
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status.ToString();
  EXPECT_EQ(pair.engine->Send(1, {}).ToString(), status.ToString());
  for (;;) {  // what came of it never becomes a message
    const auto message = pair.rank->Receive(kLongUs);
    if (message.ok()) {
      ASSERT_EQ(message->payload.size(), bytes.size());
      continue;
    }
    EXPECT_EQ(message.status().code(), StatusCode::kUnavailable);
    break;
  }
}

TEST_P(HostChannelTest, AbortEndsACallUnderWayOnBothSides) {
  const ChannelPair pair = Make();
  std::atomic<int> waiting{0};
  std::thread engine([&] {
    ++waiting;
    EXPECT_EQ(pair.engine->Receive(kLongUs).status().code(), StatusCode::kAborted);
  });
  std::thread rank([&] {
    ++waiting;
    EXPECT_EQ(pair.rank->Receive(kLongUs).status().code(), StatusCode::kUnavailable);
  });
  while (waiting < 2) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  pair.engine->Abort();
  engine.join();
  rank.join();
  EXPECT_EQ(pair.engine->Send(1, {}).code(), StatusCode::kAborted);
  EXPECT_EQ(pair.rank->Send(1, {}).code(), StatusCode::kUnavailable);
}

TEST_P(HostChannelTest, WhatWasSentBeforeLeavingStillArrives) {
  ChannelPair pair = Make();
  Talk(*pair.engine, 3, 4);
  pair.engine.reset();
  Listen(*pair.rank, 3, 4);
  const Status status = pair.rank->Receive(kLongUs).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
  EXPECT_EQ(pair.rank->Receive(kLongUs).status().ToString(), status.ToString());
}

TEST_P(HostChannelTest, OptionsOutOfRangeAreRefused) {
  const SystemClock clock;
  SystemEntropy entropy;
  const auto refused = [&](auto change) {
    SharedMemoryChannelOptions memory;
    TcpChannelOptions tcp = TcpOptions("127.0.0.1:1");
    change(memory.channel);
    change(tcp.channel);
    const Status status = GetParam() == 0 ? CreateChannelSegment(memory).status()
                                          : AcceptTcpChannels(tcp, -1, entropy, clock).status();
    return status.code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](HostChannelOptions& o) { o.epoch = 0; }));
  EXPECT_TRUE(refused([](HostChannelOptions& o) { o.epoch = kEpochOfEngine; }));
  EXPECT_TRUE(refused([](HostChannelOptions& o) { o.max_message_bytes = 0; }));
  EXPECT_TRUE(refused([](HostChannelOptions& o) { o.max_message_bytes = (1 << 30) + 1; }));
  EXPECT_TRUE(refused([](HostChannelOptions& o) { o.send_timeout_us = 0; }));
}

INSTANTIATE_TEST_SUITE_P(Channels, HostChannelTest,
                         testing::Range<size_t>(0, AllChannelKinds().size()),
                         [](const auto& test) { return AllChannelKinds()[test.param].name; });

}  // namespace
}  // namespace inferd
