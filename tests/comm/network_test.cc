// A group over TCP between two hosts, which are network namespaces joined by a cable:
// links that lose, delay, trickle or are cut, ranks that die, and strangers. Needs root
// and iproute2; skipped where they are missing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/test_network.h"
#include "inferd/base/status.h"

namespace inferd::testing {
namespace {

constexpr int kUnavailable = static_cast<int>(StatusCode::kUnavailable);
constexpr int kDeadline = static_cast<int>(StatusCode::kDeadlineExceeded);
constexpr const char* kKey = "a key of sixteen bytes or more";

class NetworkTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    network_ = TestNetwork::Make(2);
    if (network_ == nullptr) GTEST_SKIP() << "needs root, ip and network namespaces";
    ASSERT_TRUE(network_->Plug());
    // Ranks take turns between the hosts.
    for (int rank = 0; rank < GetParam(); ++rank) {
      addresses_.push_back(TestNetwork::Address(rank % 2) + ":" + std::to_string(7000 + rank));
    }
  }

  // Another cable in place of the one there was; skips the test where that cannot be.
  void Replug(const LinkFaults& faults) {
    if (!TestNetwork::HasTunnels()) GTEST_SKIP() << "needs /dev/net/tun";
    ASSERT_TRUE(network_->Plug(faults));
  }

  ~NetworkTest() override {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

  pid_t StartRank(int rank, int64_t calls, int64_t elements, int64_t timeout_us, int out,
                  const std::string& key = kKey, int epoch = 1) {
    std::vector<std::string> words = {"ip",
                                      "netns",
                                      "exec",
                                      network_->name(rank % 2),
                                      NET_PEER,
                                      std::to_string(rank),
                                      std::to_string(calls),
                                      std::to_string(elements),
                                      std::to_string(timeout_us),
                                      key,
                                      std::to_string(epoch)};
    words.insert(words.end(), addresses_.begin(), addresses_.end());
    return StartProgram(std::move(words), out);
  }

  void StartAll(int64_t calls, int64_t elements, int64_t timeout_us, int epoch = 1) {
    std::array<int, 2> pipe_fds{};
    ASSERT_EQ(pipe2(pipe_fds.data(), O_CLOEXEC), 0);
    for (int rank = 0; rank < GetParam(); ++rank) {
      pids_.push_back(StartRank(rank, calls, elements, timeout_us, pipe_fds[1], kKey, epoch));
      ASSERT_GT(pids_.back(), 0);
    }
    close(pipe_fds[1]);
    said_ = pipe_fds[0];
  }

  void SetCable(const std::string& state) {
    ASSERT_TRUE(Command("ip -n " + network_->name(0) + " link set " + TestNetwork::Cable(0, 1) +
                        " " + state));
  }

  // Until every rank has said that it is going.
  void AwaitGoing() {
    const std::string word = "going\n";
    size_t left = word.size() * static_cast<size_t>(GetParam());
    std::array<char, 256> bytes;
    while (left > 0) {
      const ssize_t n = read(said_, bytes.data(), std::min(left, bytes.size()));
      ASSERT_GT(n, 0) << "a rank ended early";
      left -= static_cast<size_t>(n);
    }
  }

  // The exit codes, or minus the signals.
  std::vector<int> Ends() {
    std::vector<int> ends;
    for (const pid_t pid : pids_) {
      int status = 0;
      EXPECT_EQ(waitpid(pid, &status, 0), pid);
      ends.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
    pids_.clear();
    close(said_);
    return ends;
  }

  std::unique_ptr<TestNetwork> network_;
  std::vector<std::string> addresses_;
  std::vector<pid_t> pids_;
  int said_ = -1;
};

TEST_P(NetworkTest, ALinkThatLosesOnePacketInFiftyChangesNoSum) {
  Replug({.loss = 20'000});
  if (IsSkipped()) return;
  StartAll(60, 20'000, 60'000'000);
  EXPECT_EQ(Ends(), std::vector<int>(static_cast<size_t>(GetParam()), 0));
}

TEST_P(NetworkTest, ALinkThatDelaysReordersAndLosesChangesNoSum) {
  Replug({.delay_us = 5000, .jitter_us = 4000, .loss = 5000});
  if (IsSkipped()) return;
  StartAll(20, 20'000, 60'000'000);
  EXPECT_EQ(Ends(), std::vector<int>(static_cast<size_t>(GetParam()), 0));
}

TEST_P(NetworkTest, ASlowLinkIsWaitedFor) {
  Replug({.rate = 4'000'000});
  if (IsSkipped()) return;
  StartAll(4, 100'000, 60'000'000);
  EXPECT_EQ(Ends(), std::vector<int>(static_cast<size_t>(GetParam()), 0));
}

// The time-out is a minute: only the end of the connections is noticed in seconds.
TEST_P(NetworkTest, AKilledRankIsMissedLongBeforeTheTimeOut) {
  const auto start = std::chrono::steady_clock::now();
  StartAll(1'000'000'000, 50'000, 60'000'000);
  AwaitGoing();
  kill(pids_[1], SIGKILL);
  const std::vector<int> ends = Ends();
  for (size_t rank = 0; rank < ends.size(); ++rank) {
    EXPECT_EQ(ends[rank], rank == 1 ? -SIGKILL : kUnavailable) << rank;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(40));
}

TEST_P(NetworkTest, ACutLinkEndsTheGroupByTheTimeOutAndANewOneFormsOnceItIsMended) {
  StartAll(1'000'000'000, 1000, 1'500'000);
  AwaitGoing();
  SetCable("down");
  for (const int end : Ends()) EXPECT_TRUE(end == kDeadline || end == kUnavailable) << end;
  SetCable("up");
  StartAll(5, 1000, 60'000'000, /*epoch=*/2);
  EXPECT_EQ(Ends(), std::vector<int>(static_cast<size_t>(GetParam()), 0));
}

TEST_P(NetworkTest, ARankWithAnotherKeyOrEpochKeepsNobodyOut) {
  const int last = GetParam() - 1;
  const pid_t other_key = StartRank(last, 5, 1000, 1'500'000, -1, "another key of sixteen bytes");
  const pid_t other_epoch = StartRank(last, 5, 1000, 1'500'000, -1, kKey, /*epoch=*/9);
  ASSERT_GT(other_key, 0);
  ASSERT_GT(other_epoch, 0);
  StartAll(5, 1000, 60'000'000);
  EXPECT_EQ(Ends(), std::vector<int>(static_cast<size_t>(GetParam()), 0));
  for (const pid_t pid : {other_key, other_epoch}) {
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 0) << status;
  }
}

// A formed group has no open door.
TEST_P(NetworkTest, NobodyListensAfterTheGroupHasFormed) {
  StartAll(1'000'000'000, 1000, 60'000'000);
  AwaitGoing();
  std::ifstream sockets("/proc/" + std::to_string(pids_[0]) + "/net/tcp");
  std::string line;
  int lines = 0;
  while (std::getline(sockets, line)) {
    const std::vector<std::string> words = Words(line);
    ASSERT_GT(words.size(), 3U);
    EXPECT_NE(words[3], "0A") << "a listening socket: " << line;
    ++lines;
  }
  EXPECT_GT(lines, 1);  // the heading, and the connections
  for (const pid_t pid : pids_) kill(pid, SIGKILL);
  Ends();
}

INSTANTIATE_TEST_SUITE_P(Ranks, NetworkTest, ::testing::Values(2, 4));

}  // namespace
}  // namespace inferd::testing
