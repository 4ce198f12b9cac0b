// Messages as they lie on a link, and everything that can be wrong with them.
#include "comm/framed_channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>

#include "comm/channels.h"
#include "comm/socket_link.h"

namespace inferd {
namespace {

std::vector<std::byte> Frame(FrameHeader header, std::span<const std::byte> payload,
                             const std::optional<HashKey>& key = {}) {
  std::vector<std::byte> frame(sizeof(header) + payload.size());
  header.check = {};
  std::memcpy(frame.data(), &header, sizeof(header));
  if (!payload.empty()) {
    std::memcpy(frame.data() + sizeof(header), payload.data(), payload.size());
  }
  header.check = FrameCheck(key, frame);
  std::memcpy(frame.data(), &header, sizeof(header));
  return frame;
}

FrameHeader Header(uint64_t sequence, uint64_t size) {
  FrameHeader header;
  header.epoch = 3;
  header.sequence = sequence;
  header.kind = 11;
  header.size = size;
  return header;
}

// A channel whose other end is a bare socket.
class FramedChannelTest : public testing::Test {
 protected:
  void SetUp() override { Renew(); }

  void Renew(const std::optional<HashKey>& key = {}) {
    std::array<int, 2> fds{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    far_ = UniqueFd(fds[0]);
    HostChannelOptions options;
    options.epoch = 3;
    options.max_message_bytes = 1000;
    channel_ =
        std::make_unique<FramedChannel>(std::make_unique<SocketLink>(UniqueFd(fds[1]), clock_),
                                        options, FrameKeys{key, key}, clock_);
  }
  void Say(std::span<const std::byte> bytes) {
    ASSERT_EQ(send(far_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  SystemClock clock_;
  UniqueFd far_;
  std::unique_ptr<FramedChannel> channel_;
};

TEST_F(FramedChannelTest, AMessageMayComeByteByByteAcrossTimeOuts) {
  const auto payload = BytesOfSize(50);
  const auto frame = Frame(Header(1, payload.size()), payload);
  for (size_t i = 0; i + 1 < frame.size(); ++i) {
    Say(std::span(frame).subspan(i, 1));
    ASSERT_EQ(channel_->Receive(0).status().code(), StatusCode::kDeadlineExceeded) << i;
  }
  Say(std::span(frame).last(1));
  const auto message = channel_->Receive(kLongUs);
  ASSERT_TRUE(message.ok()) << message.status().ToString();
  EXPECT_TRUE(std::ranges::equal(message->payload, payload));
}

TEST_F(FramedChannelTest, EveryWrongFieldBreaksTheChannel) {
  const auto payload = BytesOfSize(20);
  const std::vector<std::pair<std::string, std::function<void(FrameHeader&)>>> cases = {
      {"not a message", [](FrameHeader& h) { h.magic ^= 1; }},
      {"version", [](FrameHeader& h) { h.version = 2; }},
      {"epoch", [](FrameHeader& h) { h.epoch = 2; }},
      {"number", [](FrameHeader& h) { h.sequence = 2; }},
      {"number", [](FrameHeader& h) { h.sequence = 0; }},
      {"reserved", [](FrameHeader& h) { h.reserved = 1; }},
      {"at most", [](FrameHeader& h) { h.size = 1001; }},
      {"at most", [](FrameHeader& h) { h.size = ~uint64_t{0}; }},
  };
  for (const auto& [what, change] : cases) {
    Renew();
    FrameHeader header = Header(1, payload.size());
    change(header);
    Say(Frame(header, payload));
    const Status status = channel_->Receive(kLongUs).status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << what;
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
    // For good, even when something sound follows, and the other side learns of it.
    EXPECT_EQ(channel_->Receive(kLongUs).status().ToString(), status.ToString());
    EXPECT_EQ(channel_->Send(1, {}).ToString(), status.ToString());
    std::byte byte;
    EXPECT_EQ(recv(far_.get(), &byte, 1, 0), 0);
  }
}

TEST_F(FramedChannelTest, EveryFlippedBitIsNoticed) {
  const auto payload = BytesOfSize(40);
  const auto frame = Frame(Header(1, payload.size()), payload);
  for (size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Renew();
    auto damaged = frame;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    Say(damaged);
    shutdown(far_.get(), SHUT_WR);  // a longer size must not wait
    const Status status = channel_->Receive(kLongUs).status();
    EXPECT_TRUE(status.code() == StatusCode::kDataLoss || status.code() == StatusCode::kUnavailable)
        << bit << ": " << status.ToString();
  }
}

TEST_F(FramedChannelTest, AMessageIsNotTakenTwice) {
  const auto frame = Frame(Header(1, 0), {});
  Say(frame);
  Say(frame);
  EXPECT_TRUE(channel_->Receive(kLongUs).ok());
  EXPECT_EQ(channel_->Receive(kLongUs).status().code(), StatusCode::kDataLoss);
}

TEST_F(FramedChannelTest, WithAKeyOnlyItsHoldersCanSpeak) {
  const HashKey key{1, 2};
  const auto payload = BytesOfSize(20);
  Renew(key);
  Say(Frame(Header(1, payload.size()), payload, key));
  EXPECT_TRUE(channel_->Receive(kLongUs).ok());
  for (const std::optional<HashKey>& other : {std::optional<HashKey>{}, {HashKey{1, 3}}}) {
    Renew(key);
    Say(Frame(Header(1, payload.size()), payload, other));
    EXPECT_EQ(channel_->Receive(kLongUs).status().code(), StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace inferd
