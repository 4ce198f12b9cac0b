// Channels whose ends tell each other that they live.
#include "comm/watched_channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "comm/channels.h"
#include "comm/frame.h"
#include "comm/socket_link.h"

namespace inferd {
namespace {

constexpr int64_t kLimitUs = 1'000'000;

TEST(SilenceWatchTest, OnlyPastTheLimitIsTooLong) {
  SilenceWatch watch(kLimitUs, 100'000, 0);
  for (int64_t now_us = 100'000; now_us <= kLimitUs; now_us += 100'000) {
    EXPECT_FALSE(watch.Look(now_us, 0)) << now_us;
  }
  EXPECT_TRUE(watch.Look(kLimitUs + 1, 0));
}

TEST(SilenceWatchTest, WhatIsHeardBeginsItAnew) {
  SilenceWatch watch(kLimitUs, kLimitUs, 0);
  EXPECT_FALSE(watch.Look(kLimitUs, 0));
  EXPECT_FALSE(watch.Look(kLimitUs + 1, 1));
  EXPECT_FALSE(watch.Look(2 * kLimitUs + 1, 1));
  EXPECT_TRUE(watch.Look(2 * kLimitUs + 2, 1));
  watch.Restart(2 * kLimitUs + 2);
  EXPECT_FALSE(watch.Look(3 * kLimitUs + 2, 1));
  EXPECT_TRUE(watch.Look(3 * kLimitUs + 3, 1));
}

TEST(SilenceWatchTest, TimeThatThisEndWasStoppedCountsAsOneLook) {
  SilenceWatch watch(kLimitUs, 400'000, 0);
  EXPECT_FALSE(watch.Look(3'600'000'000, 0));
  EXPECT_FALSE(watch.Look(7'200'000'000, 0));
  EXPECT_TRUE(watch.Look(10'800'000'000, 0));
}

// Two sockets that lead to each other.
class WatchedChannelTest : public testing::Test {
 protected:
  WatchedChannelTest() {
    std::array<int, 2> fds{};
    INFERD_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
    near_ = UniqueFd(fds[0]);
    far_ = UniqueFd(fds[1]);
  }
  std::unique_ptr<FramedChannel> Framed(UniqueFd socket) {
    return std::make_unique<FramedChannel>(std::make_unique<SocketLink>(std::move(socket), clock_),
                                           HostChannelOptions{}, FrameKeys{}, clock_);
  }
  std::unique_ptr<WatchedChannel> Watched(UniqueFd socket, const FramedChannel** inner = nullptr) {
    auto framed = Framed(std::move(socket));
    if (inner != nullptr) *inner = framed.get();
    return std::make_unique<WatchedChannel>(
        std::move(framed), kLimitUs, [this] { ++alerts_; }, clock_);
  }
  static void Wait() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

  std::atomic<int> alerts_{0};
  ManualClock clock_;
  UniqueFd near_;
  UniqueFd far_;
};

TEST_F(WatchedChannelTest, ASilentEndIsLostPastTheLimitAndNotBefore) {
  const auto channel = Watched(std::move(near_));
  const auto other = Framed(std::move(far_));
  // It says five times in the limit that it lives, though nobody calls it.
  for (int beat = 0; beat < 5; ++beat) {
    StatusOr<HostMessage> message = other->Receive(0);
    while (message.status().code() == StatusCode::kDeadlineExceeded) {
      Wait();
      message = other->Receive(0);
    }
    ASSERT_TRUE(message.ok()) << message.status().ToString();
    EXPECT_EQ(message->kind, kHeartbeatKind);
    EXPECT_TRUE(channel->health().ok());
    clock_.AdvanceUs(kLimitUs / 5);
  }
  EXPECT_TRUE(channel->health().ok());
  while (channel->health().ok()) {
    clock_.AdvanceUs(10'000);
    Wait();
  }
  EXPECT_EQ(channel->health().code(), StatusCode::kUnavailable);
  EXPECT_NE(channel->health().message().find("1000 ms"), std::string::npos);
  EXPECT_EQ(channel->Send(1, {}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(channel->Receive(0).status().code(), StatusCode::kUnavailable);
}

TEST_F(WatchedChannelTest, EndsThatOnlyLiveKeepEachOther) {
  const FramedChannel* near = nullptr;
  const FramedChannel* far = nullptr;
  const auto a = Watched(std::move(near_), &near);
  const auto b = Watched(std::move(far_), &far);
  for (int round = 0; round < 15; ++round) {
    const uint64_t to_a = near->received_bytes();
    const uint64_t to_b = far->received_bytes();
    clock_.AdvanceUs(kLimitUs / 5);
    while (near->received_bytes() == to_a || far->received_bytes() == to_b) Wait();
  }
  EXPECT_TRUE(a->health().ok());
  EXPECT_TRUE(b->health().ok());
  // None of it is a message.
  EXPECT_EQ(a->Receive(0).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(WatchedChannelTest, WhatComesWhileNobodyReceivesIsKeptInOrder) {
  const FramedChannel* near = nullptr;
  const auto a = Watched(std::move(near_), &near);
  const auto b = Watched(std::move(far_));
  constexpr uint32_t kCount = 1000;  // more than waits at once
  std::thread sender([&] {
    for (uint32_t i = 0; i < kCount; ++i) ASSERT_TRUE(b->Send(i, BytesOfSize(i, i)).ok());
  });
  const auto first = a->Receive(kLongUs);
  ASSERT_TRUE(first.ok());
  const uint64_t before = near->received_bytes();
  while (near->received_bytes() < before + 100) Wait();  // taken in by the thread
  EXPECT_EQ(first->kind, 0U);
  for (uint32_t i = 1; i < kCount; ++i) {
    const auto message = a->Receive(kLongUs);
    ASSERT_TRUE(message.ok()) << message.status().ToString();
    ASSERT_EQ(message->kind, i);
    ASSERT_TRUE(std::ranges::equal(message->payload, BytesOfSize(i, i)));
  }
  sender.join();
}

TEST_F(WatchedChannelTest, AnEndThatIsClosedIsNoticedWithoutACall) {
  const auto channel = Watched(std::move(near_));
  {
    const auto other = Watched(std::move(far_));
    ASSERT_TRUE(other->Send(5, BytesOfSize(10)).ok());
    while (channel->Receive(0).status().code() == StatusCode::kDeadlineExceeded) Wait();
    ASSERT_TRUE(other->Send(6, BytesOfSize(10)).ok());
  }
  while (channel->health().ok()) Wait();
  EXPECT_EQ(channel->health().code(), StatusCode::kUnavailable);
  // What was said before is still there.
  const auto last = channel->Receive(0);
  ASSERT_TRUE(last.ok()) << last.status().ToString();
  EXPECT_EQ(last->kind, 6U);
  EXPECT_EQ(channel->Receive(0).status().code(), StatusCode::kUnavailable);
}

// Whoever receives hears it, or the thread if nobody does; and it is the last thing that is said
// before the channel is broken.
TEST_F(WatchedChannelTest, AnAlertIsHeardWhetherSomebodyReceivesOrNot) {
  const auto channel = Watched(std::move(near_));
  const auto other = Watched(std::move(far_));
  channel->Alert();
  while (alerts_ < 1) Wait();
  std::thread receiver(
      [&] { EXPECT_EQ(other->Receive(kLongUs).status().code(), StatusCode::kUnavailable); });
  channel->Alert();
  channel->Abort();
  receiver.join();
  EXPECT_EQ(alerts_, 2);
  channel->Alert();  // to nobody
}

TEST_F(WatchedChannelTest, NobodyElseSendsWhatIsTheChannelsOwn) {
  const auto channel = Watched(std::move(near_));
  for (const uint32_t kind : {kHeartbeatKind, kAlertKind}) {
    EXPECT_EQ(channel->Send(kind, {}).code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace inferd
