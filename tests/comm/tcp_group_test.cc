// Who is let into a group over TCP.
#include <gtest/gtest.h>

#include "comm/groups.h"

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

TEST(TcpGroupTest, TooManyRanksAreRefused) {
  const SystemClock clock;
  SystemEntropy entropy;
  TcpGroupOptions options;
  options.addresses.assign(kMaxRanks + 1, "127.0.0.1:1");
  EXPECT_EQ(ConnectTcpGroup(options, entropy, clock).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferd
