#include "runtime/background_sender.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>

#include "inferd/base/clock.h"
#include "inferd/comm/thread_group.h"

namespace inferd::runtime {
namespace {

// So long that the group itself cannot take a message before it is received.
constexpr size_t kBytes = 1 << 20;

class BackgroundSenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CommOptions options;
    options.chunk_bytes = 4096;
    options.timeout_us = 60'000'000;
    auto group = MakeThreadGroup(2, options, clock_);
    ASSERT_TRUE(group.ok());
    ends_ = std::move(*group);
    sender_.emplace(*ends_[0], 2);
  }

  static std::vector<std::byte> Message(int i) { return {kBytes, static_cast<std::byte>(i)}; }
  Status Send(int i) { return sender_->Send(Message(i), 1); }
  // The next message is message i.
  bool Arrives(int i) {
    std::vector<std::byte> got(kBytes);
    return ends_[1]->Recv(got, 0).ok() && got == Message(i);
  }

  const SystemClock clock_{};
  std::vector<std::unique_ptr<Communicator>> ends_;
  std::optional<BackgroundSender> sender_;
};

TEST_F(BackgroundSenderTest, TheSenderGoesOnWhileNobodyReceives) {
  EXPECT_TRUE(Send(1).ok());
  EXPECT_TRUE(Send(2).ok());
  EXPECT_TRUE(Arrives(1));
  EXPECT_TRUE(Arrives(2));
}

TEST_F(BackgroundSenderTest, ThereAreNeverMoreOnTheirWayThanThereIsRoomFor) {
  std::atomic<int> sent{0};
  std::thread rank([&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(Send(i).ok());
      ++sent;
    }
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_LE(sent, i + 2);
    EXPECT_TRUE(Arrives(i));
  }
  rank.join();
}

TEST_F(BackgroundSenderTest, AReceiverThatEndsEndsTheSender) {
  ends_[1].reset();
  Status status;
  for (int i = 0; i < 4 && status.ok(); ++i) status = Send(i);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
}

TEST_F(BackgroundSenderTest, ItsEndIsNotedByTheReceiver) {
  EXPECT_TRUE(Send(1).ok());
  sender_.reset();
  EXPECT_FALSE(Arrives(1) && Arrives(2));
}

}  // namespace
}  // namespace inferd::runtime
