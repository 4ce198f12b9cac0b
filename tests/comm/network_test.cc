// A group over TCP between two hosts, which are network namespaces joined by a cable:
// links that lose, delay, trickle or are cut, ranks that die, and strangers. Needs root
// and iproute2; skipped where they are missing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "inferd/base/status.h"

extern char** environ;

namespace inferd {
namespace {

constexpr int kUnavailable = static_cast<int>(StatusCode::kUnavailable);
constexpr int kDeadline = static_cast<int>(StatusCode::kDeadlineExceeded);
constexpr const char* kKey = "a key of sixteen bytes or more";

std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < line.size()) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// `out`: where its output goes, or -1 for nowhere. -1 when it cannot be started.
pid_t Start(std::vector<std::string> words, int out) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (out >= 0) {
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  pid_t pid = -1;
  if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

bool Command(const std::string& line) {
  const pid_t pid = Start(Words(line), -1);
  int status = 0;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

class NetworkTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const std::string name = "inferd" + std::to_string(getpid());
    hosts_ = {name + "a", name + "b"};
    if (!Command("ip netns add " + hosts_[0]) || !Command("ip netns add " + hosts_[1]) ||
        !Command("ip -n " + hosts_[0] + " link add cable type veth peer name cable netns " +
                 hosts_[1])) {
      GTEST_SKIP() << "needs root, ip and network namespaces";
    }
    SetAddresses();
    // Ranks take turns between the hosts.
    for (int rank = 0; rank < GetParam(); ++rank) {
      addresses_.push_back("10.99.0." + std::to_string(rank % 2 + 1) + ":" +
                           std::to_string(7000 + rank));
    }
  }

  void SetAddresses() {
    for (size_t h = 0; h < 2; ++h) {
      ASSERT_TRUE(Command("ip -n " + hosts_[h] + " addr add 10.99.0." + std::to_string(h + 1) +
                          "/24 dev cable"));
      ASSERT_TRUE(Command("ip -n " + hosts_[h] + " link set lo up"));
      ASSERT_TRUE(Command("ip -n " + hosts_[h] + " link set cable up"));
    }
  }

  // What is wrong with a cable (user_link.cc).
  struct Faults {
    int64_t delay_us = 0;
    int64_t jitter_us = 0;
    int64_t loss = 0;  // of a million
    int64_t rate = 0;  // bytes a second
  };

  // Another cable in place of the one there was; skips the test where that cannot be.
  void Replug(const Faults& faults) {
    ASSERT_TRUE(Command("ip -n " + hosts_[0] + " link del cable"));
    std::array<int, 2> pipe_fds{};
    ASSERT_EQ(pipe2(pipe_fds.data(), O_CLOEXEC), 0);
    link_ = Start({USER_LINK, hosts_[0], hosts_[1], "cable", "1",
                   std::to_string(faults.delay_us) + " " + std::to_string(faults.jitter_us) + " " +
                       std::to_string(faults.loss) + " " + std::to_string(faults.rate)},
                  pipe_fds[1]);
    close(pipe_fds[1]);
    char byte = 0;
    const bool is_up = read(pipe_fds[0], &byte, 1) == 1;
    close(pipe_fds[0]);
    if (!is_up) GTEST_SKIP() << "needs /dev/net/tun";
    SetAddresses();
  }

  ~NetworkTest() override {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    if (link_ > 0) {
      kill(link_, SIGKILL);
      waitpid(link_, nullptr, 0);
    }
    for (const std::string& host : hosts_) Command("ip netns del " + host);
  }

  pid_t StartRank(int rank, int64_t calls, int64_t elements, int64_t timeout_us, int out,
                  const std::string& key = kKey, int epoch = 1) {
    std::vector<std::string> words = {"ip",
                                      "netns",
                                      "exec",
                                      hosts_[static_cast<size_t>(rank) % 2],
                                      NET_PEER,
                                      std::to_string(rank),
                                      std::to_string(calls),
                                      std::to_string(elements),
                                      std::to_string(timeout_us),
                                      key,
                                      std::to_string(epoch)};
    words.insert(words.end(), addresses_.begin(), addresses_.end());
    return Start(std::move(words), out);
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

  std::vector<std::string> hosts_;
  std::vector<std::string> addresses_;
  std::vector<pid_t> pids_;
  pid_t link_ = -1;
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
  ASSERT_TRUE(Command("ip -n " + hosts_[0] + " link set cable down"));
  for (const int end : Ends()) EXPECT_TRUE(end == kDeadline || end == kUnavailable) << end;
  ASSERT_TRUE(Command("ip -n " + hosts_[0] + " link set cable up"));
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

INSTANTIATE_TEST_SUITE_P(Ranks, NetworkTest, testing::Values(2, 4));

}  // namespace
}  // namespace inferd
