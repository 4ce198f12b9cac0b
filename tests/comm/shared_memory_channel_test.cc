// Channels over shared memory: other processes, their deaths, and memory they spoilt.
#include "inferd/comm/shared_memory_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "comm/channels.h"
#include "comm/ring_link.h"

extern char** environ;

namespace inferd {
namespace {

class SharedMemoryChannelTest : public testing::Test {
 protected:
  void Open(uint64_t epoch) {
    options_.channel.epoch = epoch;
    auto segment = CreateChannelSegment(options_);
    ASSERT_TRUE(segment.ok()) << segment.status().ToString();
    segment_.emplace(std::move(*segment));
    auto engine = OpenSharedMemoryChannel(segment_->get(), HostSide::kEngine, options_, clock_);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(*engine);
  }

  void StartPeer(uint64_t epoch) {
    const int inherited = dup(segment_->get());  // without close-on-exec
    std::vector<std::string> args = {CHANNEL_PEER, std::to_string(inherited),
                                     std::to_string(epoch)};
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&peer_, CHANNEL_PEER, nullptr, nullptr, argv.data(), environ), 0);
    close(inherited);
  }

  int PeersEnd() {
    int status = 0;
    EXPECT_EQ(waitpid(peer_, &status, 0), peer_);
    peer_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  ~SharedMemoryChannelTest() override {
    if (peer_ == 0) return;
    kill(peer_, SIGKILL);
    waitpid(peer_, nullptr, 0);
  }

  void Echo() {
    ASSERT_TRUE(engine_->Send(1, BytesOfSize(100)).ok());
    const auto message = engine_->Receive(kLongUs);
    ASSERT_TRUE(message.ok()) << message.status().ToString();
    EXPECT_TRUE(std::ranges::equal(message->payload, BytesOfSize(100)));
  }

  SystemClock clock_;
  SharedMemoryChannelOptions options_;
  std::optional<UniqueFd> segment_;
  std::unique_ptr<HostChannel> engine_;
  pid_t peer_ = 0;
};

TEST_F(SharedMemoryChannelTest, AnotherProcessAnswersUntilTheChannelIsAborted) {
  Open(5);
  StartPeer(5);
  for (int i = 0; i < 100; ++i) Echo();
  engine_->Abort();
  EXPECT_EQ(PeersEnd(), static_cast<int>(StatusCode::kUnavailable));
}

TEST_F(SharedMemoryChannelTest, AProcessThatDiesIsMissedLongBeforeTheTimeOut) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) {
    Open(5);
    StartPeer(5);
    Echo();
    ASSERT_TRUE(engine_->Send(99, {}).ok());
    const Status status = engine_->Receive(kLongUs).status();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_NE(status.message().find("died"), std::string::npos) << status.ToString();
    EXPECT_EQ(PeersEnd(), -SIGKILL);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST_F(SharedMemoryChannelTest, ARankOfAnotherEpochIsRefused) {
  Open(6);
  StartPeer(5);
  EXPECT_EQ(PeersEnd(), static_cast<int>(StatusCode::kFailedPrecondition));
}

TEST_F(SharedMemoryChannelTest, RefusesTakenSidesOtherShapesAndOtherFiles) {
  Open(5);
  const auto open_side = [this](int fd, HostSide side, const SharedMemoryChannelOptions& options) {
    return OpenSharedMemoryChannel(fd, side, options, clock_).status().code();
  };
  EXPECT_EQ(open_side(segment_->get(), HostSide::kEngine, options_), StatusCode::kAlreadyExists);
  SharedMemoryChannelOptions other = options_;
  other.ring_bytes /= 2;
  EXPECT_EQ(open_side(segment_->get(), HostSide::kRank, other), StatusCode::kFailedPrecondition);
  other.ring_bytes = 5000;
  EXPECT_EQ(open_side(segment_->get(), HostSide::kRank, other), StatusCode::kInvalidArgument);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  EXPECT_EQ(open_side(null, HostSide::kRank, options_), StatusCode::kFailedPrecondition);
  close(null);
  // One that came and went is not replaced: its messages may be half read.
  EXPECT_EQ(open_side(segment_->get(), HostSide::kRank, options_), StatusCode::kOk);
  EXPECT_EQ(open_side(segment_->get(), HostSide::kRank, options_), StatusCode::kAlreadyExists);
}

// The rank's process may write anything anywhere in the memory.
TEST_F(SharedMemoryChannelTest, ImpossiblePositionsBreakTheChannel) {
  for (const uint32_t position : {uint32_t{2} << 20, uint32_t{1} << 30}) {
    Open(5);
    const size_t bytes = sizeof(RingHead) + 2 * static_cast<size_t>(options_.ring_bytes);
    void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment_->get(), 0);
    ASSERT_NE(base, MAP_FAILED);
    auto& head = *static_cast<RingHead*>(base);
    head.ring[1].written.value.store(position);
    EXPECT_EQ(engine_->Receive(kLongUs).status().code(), StatusCode::kDataLoss);
    Open(5);
    munmap(base, bytes);
    void* const again =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment_->get(), 0);
    static_cast<RingHead*>(again)->ring[0].read.value.store(position);
    EXPECT_EQ(engine_->Send(1, {}).code(), StatusCode::kDataLoss);
    munmap(again, bytes);
  }
}

TEST_F(SharedMemoryChannelTest, BytesThatAreNoMessageBreakTheChannel) {
  Open(5);
  const size_t bytes = sizeof(RingHead) + 2 * static_cast<size_t>(options_.ring_bytes);
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment_->get(), 0);
  ASSERT_NE(base, MAP_FAILED);
  auto& head = *static_cast<RingHead*>(base);
  head.ring[1].written.value.store(500);
  EXPECT_EQ(engine_->Receive(kLongUs).status().code(), StatusCode::kDataLoss);
  munmap(base, bytes);
}

}  // namespace
}  // namespace inferd
