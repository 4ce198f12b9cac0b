// Who is let into a group over TCP.
#include <gtest/gtest.h>

#include "comm/frame_seal.h"
#include "comm/groups.h"
#include "comm/handshake.h"
#include "comm/relay.h"

namespace inferd {
namespace {

// Two ranks of which the second may differ; rank 0's status.
Status Rank0Meets(const std::function<void(TcpGroupOptions&)>& change) {
  const SystemClock clock;
  const std::vector<Listener> listeners(2);
  Status result;
  OnThreads(2, [&](int rank) {
    TcpGroupOptions options;
    options.comm.timeout_us = 400'000;
    options.rank = rank;
    options.addresses = {listeners[0].address, listeners[1].address};
    options.listen_fd = listeners[static_cast<size_t>(rank)].fd;
    options.key = "a key of sixteen bytes or more";
    options.epoch = 7;
    if (rank == 1) change(options);
    SystemEntropy entropy;
    const auto group = ConnectTcpGroup(options, entropy, clock);
    if (rank == 0 && !group.ok()) result = group.status();
  });
  return result;
}

TEST(TcpGroupTest, RefusesOtherKeysEpochsAndShapes) {
  EXPECT_TRUE(Rank0Meets([](TcpGroupOptions&) {}).ok());
  const Status key = Rank0Meets([](TcpGroupOptions& options) { options.key.back() = '!'; });
  EXPECT_EQ(key.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(key.message().find("wrong key"), std::string::npos) << key.ToString();
  const Status epoch = Rank0Meets([](TcpGroupOptions& options) { options.epoch = 6; });
  EXPECT_EQ(epoch.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(epoch.message().find("epoch 6"), std::string::npos) << epoch.ToString();
  const Status chunk =
      Rank0Meets([](TcpGroupOptions& options) { options.comm.chunk_bytes = 4096; });
  EXPECT_NE(chunk.message().find("chunk size"), std::string::npos) << chunk.ToString();
}

TEST(TcpGroupTest, ASilentStrangerAndOneWhoTalksRubbishKeepNobodyOut) {
  const SystemClock clock;
  const std::vector<Listener> listeners(2);
  std::vector<int> strangers;
  for (int i = 0; i < 2; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in name{};
    socklen_t length = sizeof(name);
    getsockname(listeners[0].fd, reinterpret_cast<sockaddr*>(&name), &length);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), length), 0);
    strangers.push_back(fd);
  }
  const std::string rubbish(4096, 'x');
  ASSERT_GT(send(strangers[1], rubbish.data(), rubbish.size(), 0), 0);
  OnThreads(2, [&](int rank) {
    TcpGroupOptions options;
    options.comm.timeout_us = 30'000'000;
    options.rank = rank;
    options.addresses = {listeners[0].address, listeners[1].address};
    options.listen_fd = listeners[static_cast<size_t>(rank)].fd;
    options.key = "a key of sixteen bytes or more";
    SystemEntropy entropy;
    auto group = ConnectTcpGroup(options, entropy, clock);
    ASSERT_TRUE(group.ok()) << group.status().ToString();
    EXPECT_TRUE((*group)->Barrier().ok());
  });
  for (const int fd : strangers) close(fd);
}

// Two ranks with somebody between them who flips a bit after so many bytes of rank 1's;
// what the sum of rank 0 comes to.
Status SumThroughRelay(int64_t tamper_after) {
  const SystemClock clock;
  const std::vector<Listener> listeners(2);
  Relay relay(listeners[0].address, tamper_after);
  Status result;
  OnThreads(2, [&](int rank) {
    TcpGroupOptions options;
    options.comm.timeout_us = 30'000'000;
    options.rank = rank;
    options.addresses = {rank == 0 ? listeners[0].address : relay.address(), listeners[1].address};
    options.listen_fd = listeners[static_cast<size_t>(rank)].fd;
    options.key = "a key of sixteen bytes or more";
    SystemEntropy entropy;
    auto group = ConnectTcpGroup(options, entropy, clock);
    ASSERT_TRUE(group.ok()) << group.status().ToString();
    std::vector<float> x(1000, 1.0F);
    Status status;
    for (int call = 0; call < 3 && status.ok(); ++call) {
      status = (*group)->AllReduce(TensorView(x.data(), DType::kF32, {1000}));
    }
    if (rank == 0) result = status;
    if (status.ok()) {
      EXPECT_EQ(x.front(), 8.0F);
    }
  });
  return result;
}

TEST(TcpGroupTest, ABitFlippedOnTheWayEndsTheGroup) {
  constexpr int64_t kGreeting = sizeof(Hello) + sizeof(HmacTag);
  constexpr int64_t kHead = 56;  // of a frame: what is said of the call, and the tag
  EXPECT_TRUE(SumThroughRelay(-1).ok());
  // In the first sum's tag and numbers, and in the second's last number.
  for (const int64_t at :
       {kGreeting + kHead - 1, kGreeting + kHead + 5, kGreeting + 2 * (kHead + 4000) - 1}) {
    const Status status = SumThroughRelay(at);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << at << ": " << status.ToString();
  }
  // What is said of the call is looked at first.
  EXPECT_EQ(SumThroughRelay(kGreeting + 3).code(), StatusCode::kFailedPrecondition);
}

TEST(FrameSealTest, TagsAreOfOneMessageOneKeyAndOnePlace) {
  const std::vector<std::byte> head(40, std::byte{1});
  const std::vector<std::byte> body(100, std::byte{2});
  FrameSeal a({1, 2});
  FrameSeal same({1, 2});
  FrameSeal other({1, 3});
  const SealTag first = a.Next(head, body);
  EXPECT_EQ(same.Next(head, body), first);
  EXPECT_NE(other.Next(head, body), first);
  const SealTag second = a.Next(head, body);
  EXPECT_NE(second, first);  // the same message again
  FrameSeal reader({1, 2});
  EXPECT_TRUE(reader.Fits(head, body, first));
  EXPECT_FALSE(reader.Fits(head, body, first));  // a replay
  EXPECT_FALSE(FrameSeal({1, 2}).Fits(body, head, first));
  EXPECT_FALSE(FrameSeal({1, 2}).Fits(head, {}, first));
}

TEST(TcpGroupTest, TooManyRanksAreRefused) {
  const SystemClock clock;
  SystemEntropy entropy;
  TcpGroupOptions options;
  options.addresses.assign(kMaxRanks + 1, "127.0.0.1:1");
  EXPECT_EQ(ConnectTcpGroup(options, entropy, clock).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferd
