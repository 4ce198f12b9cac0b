// Who is let into a group over TCP.
#include <gtest/gtest.h>

#include <future>

#include "comm/frame_seal.h"
#include "comm/groups.h"
#include "comm/handshake.h"
#include "comm/relay.h"
#include "comm/rendezvous.h"

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
  constexpr int64_t kHead = 56;  // of a frame: what is said of the call, and the tag
  // With the frame that says that all are there.
  constexpr int64_t kGreeting = sizeof(Hello) + sizeof(HmacTag) + kHead;
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

TcpGroupOptions OptionsOf(int rank, const std::vector<std::string>& addresses, int listen_fd) {
  TcpGroupOptions options;
  options.comm.timeout_us = 60'000'000;
  options.rank = rank;
  options.addresses = addresses;
  options.listen_fd = listen_fd;
  options.key = "a key of sixteen bytes or more";
  options.epoch = 7;
  return options;
}

// Passes on what the first visitor says, and cuts it off before the last of what it would hear,
// while the other side knows nothing of that; whoever comes next is let through.
class CuttingRelay {
 public:
  explicit CuttingRelay(std::string to) : to_(std::move(to)), thread_([this] { Run(); }) {}
  ~CuttingRelay() { thread_.join(); }
  const std::string& address() const { return listener_.address; }
  // Until the second visitor has been let in.
  void AwaitSecond() { let_in_.get_future().wait(); }

 private:
  static size_t Move(int from, int to, size_t bytes) {
    std::vector<std::byte> moved(bytes);
    const ssize_t n = recv(from, moved.data(), bytes, bytes > 1 ? MSG_WAITALL : 0);
    if (n > 0) send(to, moved.data(), static_cast<size_t>(n), MSG_NOSIGNAL);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  int Accept() const {
    pollfd waiting{listener_.fd, POLLIN, 0};
    poll(&waiting, 1, -1);
    return accept(listener_.fd, nullptr, nullptr);
  }
  void Run() {
    const int first = Accept();
    const int kept = ConnectTo(to_);  // rank 0 is not told that the first one is gone
    Move(first, kept, sizeof(Hello));
    Move(kept, first, sizeof(Hello));
    Move(first, kept, sizeof(HmacTag));
    std::byte last[sizeof(HmacTag)];
    recv(kept, last, sizeof(last), MSG_WAITALL);
    const linger reset{1, 0};
    setsockopt(first, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(first);
    const int second = Accept();
    const int through = ConnectTo(to_);
    Move(second, through, sizeof(Hello));
    Move(through, second, sizeof(Hello));
    Move(second, through, sizeof(HmacTag));
    Move(through, second, sizeof(HmacTag));
    let_in_.set_value();
    std::thread back([&] {
      while (Move(through, second, 1) > 0) {
      }
      shutdown(second, SHUT_WR);
    });
    while (Move(second, through, 1) > 0) {
    }
    shutdown(through, SHUT_WR);
    back.join();
    for (const int fd : {kept, second, through}) close(fd);
  }

  const Listener listener_;
  const std::string to_;
  std::promise<void> let_in_;
  std::thread thread_;  // last
};

// Rank 0 takes the first connection for good, and still waits for rank 2.
TEST(TcpGroupTest, ARankThatWasCutOffComesAgain) {
  const SystemClock clock;
  const std::vector<Listener> listeners(3);
  CuttingRelay relay(listeners[0].address);
  OnThreads(3, [&](int rank) {
    const auto self = static_cast<size_t>(rank);
    const std::vector<std::string> addresses = {rank == 1 ? relay.address() : listeners[0].address,
                                                listeners[1].address, listeners[2].address};
    SystemEntropy entropy;
    if (rank == 2) relay.AwaitSecond();
    auto group = ConnectTcpGroup(OptionsOf(rank, addresses, listeners[self].fd), entropy, clock);
    ASSERT_TRUE(group.ok()) << rank << ": " << group.status().ToString();
    EXPECT_TRUE((*group)->Barrier().ok());
  });
}

// A connection to rank `whom` as `rank`, which this test plays.
std::unique_ptr<Handshake> VisitAs(uint32_t rank, const TcpGroupOptions& options, size_t whom) {
  static const Handshake::Judge kAnybody = [](const Hello&) { return std::string(); };
  const SystemClock clock;
  SystemEntropy entropy;
  Hello hello;
  hello.epoch = options.epoch;
  hello.rank = rank;
  hello.world_size = static_cast<uint32_t>(options.addresses.size());
  hello.size = static_cast<uint64_t>(options.comm.chunk_bytes);
  auto done = ConnectAndShake(options.addresses[whom], hello, options.key, kAnybody, entropy, clock,
                              clock.NowUs() + options.comm.timeout_us);
  INFERD_CHECK(done.ok());
  return std::move(*done);
}

TEST(TcpGroupTest, ARankThatLeavesWhenItIsCompleteIsMissedAtOnce) {
  const SystemClock clock;
  const std::vector<Listener> listeners(2);
  const TcpGroupOptions options =
      OptionsOf(0, {listeners[0].address, listeners[1].address}, listeners[0].fd);
  std::thread visitor([&] { VisitAs(1, options, 0).reset(); });
  SystemEntropy entropy;
  const auto group = ConnectTcpGroup(options, entropy, clock);
  visitor.join();
  EXPECT_EQ(group.status().code(), StatusCode::kUnavailable) << group.status().ToString();
}

TEST(TcpGroupTest, WhoWaitsForOthersMissesOneThatHasLeft) {
  const SystemClock clock;
  const std::vector<Listener> listeners(3);
  const std::vector<std::string> addresses = {listeners[0].address, listeners[1].address,
                                              listeners[2].address};
  // This test is rank 0, and there is no rank 2.
  const TcpGroupOptions options = OptionsOf(1, addresses, listeners[1].fd);
  Status status;
  std::thread waits([&] {
    SystemEntropy entropy;
    status = ConnectTcpGroup(options, entropy, clock).status();
  });
  Hello mine;
  mine.epoch = options.epoch;
  mine.world_size = 3;
  mine.size = static_cast<uint64_t>(options.comm.chunk_bytes);
  const Handshake::Judge anybody = [](const Hello&) { return std::string(); };
  SystemEntropy entropy;
  Receptionist receptionist(listeners[0].fd, mine, options.key, anybody, entropy, clock);
  std::unique_ptr<Handshake> met;
  while (met == nullptr) met = receptionist.Next();
  met.reset();
  waits.join();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
  EXPECT_NE(status.message().find("rank 0"), std::string::npos) << status.ToString();
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
