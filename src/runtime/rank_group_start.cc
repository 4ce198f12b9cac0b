// How a group of ranks comes up: processes of this host, and those that come from others.
#include <unistd.h>

#include "inferd/comm/shared_memory_channel.h"
#include "inferd/comm/tcp_channel.h"
#include "runtime/fd_message.h"
#include "runtime/group_timeout.h"
#include "runtime/host_segments.h"
#include "runtime/oom_counter.h"
#include "runtime/rank_group.h"
#include "runtime/remote_listener.h"
#include "spdlog/spdlog.h"

namespace inferd::runtime {
namespace {

// Room for every plan in flight with a long prompt, so that handing one over need not
// wait. Memory that is not written takes no space.
constexpr int64_t kRingBytes = 8 << 20;
constexpr int64_t kIntroductionUs = 10'000'000;
constexpr int64_t kIntroductionLookUs = 50'000;

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
  group->facts_.resize(group->channels_.size());
  INFERD_RETURN_IF_ERROR(group->SendSetups(options));
  return group;
}

Status RankGroup::StartLocal(const ProcessExecutorOptions& options, int num_local,
                             const Clock& clock) {
  INFERD_ASSIGN_OR_RETURN(const HostSegments segments,
                          HostSegments::Create(options.shape, 0, num_local));
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
    segments.AddTo(greeting, rank, fds);
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

}  // namespace inferd::runtime
