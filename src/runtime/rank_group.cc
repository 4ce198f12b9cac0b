#include "runtime/rank_group.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "inferd/comm/shared_memory_channel.h"
#include "inferd/comm/tcp_channel.h"
#include "runtime/fd_message.h"
#include "runtime/group_timeout.h"
#include "runtime/oom_counter.h"
#include "runtime/remote_listener.h"
#include "runtime/stack_dump.h"
#include "spdlog/spdlog.h"

namespace inferd::runtime {
namespace {

// Room for every plan in flight with a long prompt, so that handing one over need not
// wait. Memory that is not written takes no space.
constexpr int64_t kRingBytes = 8 << 20;
constexpr int64_t kIntroductionUs = 10'000'000;
constexpr int64_t kIntroductionLookUs = 50'000;
// The engine thread may be about to hear why a channel broke.
constexpr int kLooksAtLoss = 4;
constexpr int kStackRounds = 20;
constexpr int kRoundMs = 25;
constexpr int kStopRounds = 80;

int NumLocal(const ProcessExecutorOptions& options) {
  return options.shape.ranks() / options.remote.num_hosts;
}

// Where rank `rank` listens for its group `link`, on its own host.
std::string GroupAddress(const ProcessExecutorOptions& options, const std::string& host, int rank,
                         size_t link) {
  const int port = options.remote.port + 1 +
                   (rank % NumLocal(options)) * static_cast<int>(kNumLinks) +
                   static_cast<int>(link);
  return JoinAddress(host, port);
}

HostChannelOptions ChannelOptions(uint64_t epoch) {
  HostChannelOptions options;
  options.epoch = epoch;
  options.max_message_bytes = kMaxRankMessageBytes;
  return options;
}

}  // namespace

StatusOr<std::shared_ptr<RankGroup>> RankGroup::Start(
    const ProcessExecutorOptions& options, uint64_t epoch, int listen_fd,
    const std::atomic<bool>& stopping, EntropySource& entropy, const Clock& clock,
    const std::shared_ptr<spdlog::logger>& logger) {
  std::shared_ptr<RankGroup> group(new RankGroup(epoch, logger));
  group->oom_kills_ = CountOomKills();
  const int num_local = NumLocal(options);
  INFERD_RETURN_IF_ERROR(group->StartLocal(options, num_local, clock));
  if (num_local < options.shape.ranks()) {
    INFERD_RETURN_IF_ERROR(group->AcceptRemote(options, listen_fd, stopping, entropy, clock));
  }
  group->said_.resize(group->channels_.size(), RankMessage::kSetup);
  INFERD_RETURN_IF_ERROR(group->SendSetups(options));
  return group;
}

Status RankGroup::StartLocal(const ProcessExecutorOptions& options, int num_local,
                             const Clock& clock) {
  CommOptions comm;
  comm.timeout_us = kGroupTimeoutUs;
  // One segment for each group that is on this host, made when its first rank comes up.
  std::array<std::vector<std::pair<int, UniqueFd>>, kNumLinks> segments;  // by first rank
  for (int rank = 0; rank < num_local; ++rank) {
    RankGreeting greeting;
    greeting.parent_pid = getpid();
    greeting.world_rank = rank;
    greeting.epoch = epoch_;
    greeting.max_message_bytes = kMaxRankMessageBytes;
    greeting.ring_bytes = kRingBytes;
    greeting.key = options.remote.key;
    const SharedMemoryChannelOptions channel{ChannelOptions(epoch_), kRingBytes};
    INFERD_ASSIGN_OR_RETURN(const UniqueFd segment, CreateChannelSegment(channel));
    std::vector<int> fds = {segment.get()};
    for (size_t link = 0; link < kNumLinks; ++link) {
      const std::vector<int> ranks = LinkRanks(options.shape, rank, link);
      if (ranks.size() < 2 || ranks.back() >= num_local) continue;
      if (ranks.front() == rank) {
        INFERD_ASSIGN_OR_RETURN(UniqueFd shared,
                                CreateSharedMemorySegment(static_cast<int>(ranks.size()), comm));
        segments[link].emplace_back(rank, std::move(shared));
      }
      for (const auto& [first, shared] : segments[link]) {
        if (first == ranks.front()) fds.push_back(shared.get());
      }
      greeting.shared_links |= static_cast<uint8_t>(1U << link);
    }
    INFERD_ASSIGN_OR_RETURN(
        std::unique_ptr<HostChannel> opened,
        OpenSharedMemoryChannel(segment.get(), HostSide::kEngine, channel, clock));
    channels_.push_back(std::move(opened));
    hosts_.push_back(options.remote.leader);
    INFERD_ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> process,
                            ChildProcess::Start(options.command));
    if (logger_ != nullptr) logger_->info("rank {}: process {}", rank, process->pid());
    children_.push_back(Child{rank, std::move(process), RankLog(rank, logger_), true});
    INFERD_RETURN_IF_ERROR(
        SendWithFds(children_.back().process->control_fd(), Encode(greeting), fds));
  }
  return OkStatus();
}

Status RankGroup::AcceptRemote(const ProcessExecutorOptions& options, int listen_fd,
                               const std::atomic<bool>& stopping, EntropySource& entropy,
                               const Clock& clock) {
  TcpChannelOptions tcp;
  tcp.channel = ChannelOptions(epoch_);
  tcp.address = JoinAddress(options.remote.leader, options.remote.port);
  tcp.key = options.remote.key;
  tcp.num_ranks = options.shape.ranks() - NumLocal(options);
  tcp.timeout_us = options.start_timeout_us;
  tcp.silence_us = options.remote.silence_us;
  if (logger_ != nullptr) {
    logger_->info("waiting for {} ranks of other hosts on {}", tcp.num_ranks, tcp.address);
  }
  const auto goes_on = [&]() -> Status {
    if (stopping) return UnavailableError("stopping");
    Poll(-1, 0);
    return reason();
  };
  INFERD_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<HostChannel>> remote,
                          AcceptTcpChannels(tcp, listen_fd, entropy, clock, goes_on));
  const int64_t end_us = clock.NowUs() + kIntroductionUs;
  for (std::unique_ptr<HostChannel>& channel : remote) {
    const std::string name = "rank " + std::to_string(channels_.size());
    StatusOr<HostMessage> here = channel->Receive(kIntroductionLookUs);
    while (here.status().code() == StatusCode::kDeadlineExceeded && clock.NowUs() < end_us) {
      INFERD_RETURN_IF_ERROR(goes_on());
      here = channel->Receive(kIntroductionLookUs);
    }
    if (!here.ok()) return here.status().WithPrefix(name);
    if (static_cast<RankMessage>(here->kind) != RankMessage::kHere) {
      return Status(StatusCode::kDataLoss, name + " does not say where it is");
    }
    hosts_.emplace_back(reinterpret_cast<const char*>(here->payload.data()), here->payload.size());
    if (logger_ != nullptr) logger_->info("{}: on {}", name, hosts_.back());
    channels_.push_back(std::move(channel));
  }
  return OkStatus();
}

Status RankGroup::SendSetups(const ProcessExecutorOptions& options) {
  RankSetup setup;
  setup.version = options.version;
  setup.epoch = epoch_;
  setup.comm.timeout_us = kGroupTimeoutUs;
  setup.payload = options.payload;
  if (NumLocal(options) < options.shape.ranks()) {
    for (int rank = 0; rank < options.shape.ranks(); ++rank) {
      for (size_t link = 0; link < kNumLinks; ++link) {
        setup.addresses.push_back(
            GroupAddress(options, hosts_[static_cast<size_t>(rank)], rank, link));
      }
    }
  }
  for (size_t rank = 0; rank < size(); ++rank) {
    setup.place = PlaceOf(options.shape, static_cast<int>(rank));
    INFERD_RETURN_IF_ERROR(
        channel(rank).Send(static_cast<uint32_t>(RankMessage::kSetup), Encode(setup)));
  }
  return OkStatus();
}

RankGroup::~RankGroup() { Kill(); }

void RankGroup::Break(const Status& why) {
  {
    std::lock_guard lock(mutex_);
    if (!reason_.ok()) return;
    reason_ = why;
  }
  broken_.store(true, std::memory_order_release);
  for (const std::unique_ptr<HostChannel>& channel : channels_) channel->Abort();
}

Status RankGroup::reason() const {
  std::lock_guard lock(mutex_);
  return reason_;
}

void RankGroup::Poll(int wake_fd, int timeout_ms) {
  std::vector<pollfd> fds;
  fds.push_back({wake_fd, POLLIN, 0});
  for (const Child& child : children_) {
    const bool gone = child.process->waited();
    fds.push_back({gone ? -1 : child.process->pid_fd(), POLLIN, 0});
    fds.push_back({gone || !child.log_open ? -1 : child.process->log_fd(), POLLIN, 0});
  }
  const int happened = poll(fds.data(), fds.size(), timeout_ms);
  LookAtChannels();
  if (happened <= 0) return;
  for (size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    // Its last words come before the news of its end.
    if (fds[2 * i + 2].revents != 0) child.log_open = child.log.Read(child.process->log_fd());
    if (fds[2 * i + 1].revents != 0) Collect(child);
  }
}

void RankGroup::LookAtChannels() {
  // Of the ranks here their processes tell more.
  for (size_t rank = children_.size(); rank < size() && !broken() && !killing_; ++rank) {
    const Status health = channel(rank).health();
    if (health.ok()) continue;
    if (handed_over_ && ++looks_at_loss_ < kLooksAtLoss) return;
    Break(LastWords(rank,
                    health.WithPrefix("rank " + std::to_string(rank) + " (" + hosts_[rank] + ")")));
  }
}

Status RankGroup::LastWords(size_t rank, const Status& why) {
  if (handed_over_ || broken()) return why;
  const StatusOr<HostMessage> last = channel(rank).Receive(0);
  if (!last.ok() || static_cast<RankMessage>(last->kind) != RankMessage::kFailed) return why;
  return DecodeStatus(last->payload).WithPrefix("rank " + std::to_string(rank));
}

void RankGroup::Collect(Child& child) {
  const ChildExit end = child.process->Wait();
  if (child.log_open) child.log_open = child.log.Read(child.process->log_fd());
  child.log.Finish();
  if (killing_) return;
  std::string text = "rank " + std::to_string(child.rank) + " (process " +
                     std::to_string(child.process->pid()) + ") " + end.Text();
  if (end.signalled && end.code == SIGKILL && CountOomKills() > oom_kills_) {
    text += ": out of memory";
  }
  // What it said before it ended tells more than that it did.
  Break(LastWords(static_cast<size_t>(child.rank), UnavailableError(text)));
}

StatusOr<bool> RankGroup::AllSaid(RankMessage kind, const std::vector<RankFacts>& expected) {
  bool all = true;
  for (size_t rank = 0; rank < size(); ++rank) {
    if (said_[rank] == kind) continue;
    all = false;
    const StatusOr<HostMessage> message = channel(rank).Receive(0);
    if (message.status().code() == StatusCode::kDeadlineExceeded) continue;
    INFERD_RETURN_IF_ERROR(message.status());
    const std::string name = "rank " + std::to_string(rank);
    said_[rank] = static_cast<RankMessage>(message->kind);
    if (said_[rank] == RankMessage::kFailed) {
      return DecodeStatus(message->payload).WithPrefix(name);
    }
    if (said_[rank] != kind) {
      return Status(StatusCode::kDataLoss, name + " says something unexpected");
    }
    if (kind != RankMessage::kLoaded) continue;
    INFERD_ASSIGN_OR_RETURN(const RankFacts facts, DecodeFacts(message->payload));
    INFERD_RETURN_IF_ERROR(CheckSameFacts(expected[rank], facts).WithPrefix(name));
  }
  return all;
}

Status RankGroup::WarmUp() {
  for (size_t rank = 0; rank < size(); ++rank) {
    INFERD_RETURN_IF_ERROR(channel(rank).Send(static_cast<uint32_t>(RankMessage::kWarmUp), {}));
  }
  return OkStatus();
}

bool RankGroup::AnyStopped() const {
  return std::any_of(children_.begin(), children_.end(), [](const Child& child) {
    return !child.process->waited() && IsStopped(child.process->pid());
  });
}

void RankGroup::DumpStacks() {
  std::vector<int64_t> lines;
  for (Child& child : children_) {
    lines.push_back(child.log.num_lines());
    if (!child.process->waited()) RequestStacks(child.process->pid());
  }
  const auto num_lines = [this] {
    int64_t sum = 0;
    for (const Child& child : children_) sum += child.log.num_lines();
    return sum;
  };
  const auto all_answered = [&] {
    for (size_t i = 0; i < children_.size(); ++i) {
      const Child& child = children_[i];
      if (!child.process->waited() && child.log.num_lines() == lines[i]) return false;
    }
    return true;
  };
  int quiet = 0;  // rounds without a line
  for (int round = 0; round < kStackRounds && !(all_answered() && quiet > 2); ++round) {
    const int64_t before = num_lines();
    Poll(-1, kRoundMs);
    quiet = num_lines() == before ? quiet + 1 : 0;
  }
  if (logger_ == nullptr) return;
  for (size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    if (child.process->waited() || child.log.num_lines() > lines[i]) continue;
    for (const std::string& line : DescribeThreads(child.process->pid())) {
      logger_->warn("rank {} does not answer: {}", child.rank, line);
    }
  }
}

void RankGroup::Stop() {
  killing_ = true;
  for (const std::unique_ptr<HostChannel>& channel : channels_) {
    (void)channel->Send(static_cast<uint32_t>(RankMessage::kStop), {});
  }
  const auto any_left = [this] {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Child& child) { return !child.process->waited(); });
  };
  for (int round = 0; round < kStopRounds && any_left(); ++round) Poll(-1, kRoundMs);
  Kill();
}

void RankGroup::Kill() {
  killing_ = true;
  Break(UnavailableError("the ranks were ended"));
  for (Child& child : children_) child.process->Kill();
  for (Child& child : children_) {
    if (!child.process->waited()) Collect(child);
  }
}

}  // namespace inferd::runtime
