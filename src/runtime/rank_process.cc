#include "inferd/runtime/rank_process.h"

#include <sys/prctl.h>

#include <array>
#include <cstdio>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "inferd/comm/shared_memory_channel.h"
#include "inferd/comm/tcp_channel.h"
#include "inferd/plan/wire.h"
#include "runtime/child_process.h"
#include "runtime/engine_watch.h"
#include "runtime/fd_message.h"
#include "runtime/rank_links.h"
#include "runtime/rank_messages.h"
#include "runtime/stack_dump.h"

namespace inferd {
namespace runtime {
namespace {

// How long one wait for the engine takes; there is no end to waiting.
constexpr int64_t kPatienceUs = 60'000'000;
// How often a rank that could take another plan looks whether its oldest is done.
constexpr int64_t kPollUs = 50;

StatusOr<std::unique_ptr<HostChannel>> OpenChannel(const RankGreeting& greeting, int segment,
                                                   EntropySource& entropy, const Clock& clock) {
  HostChannelOptions channel;
  channel.epoch = greeting.epoch;
  channel.max_message_bytes = greeting.max_message_bytes;
  if (greeting.ring_bytes > 0) {
    return OpenSharedMemoryChannel(segment, HostSide::kRank, {channel, greeting.ring_bytes}, clock);
  }
  TcpChannelOptions options;
  options.channel = channel;
  options.address = greeting.address;
  options.key = greeting.key;
  options.num_ranks = greeting.num_remote;
  options.timeout_us = kPatienceUs;
  options.silence_us = greeting.silence_us;
  options.on_alert = WriteOwnStacks;
  return ConnectTcpChannel(options, greeting.remote_rank, entropy, clock);
}

class RankProcessImpl final : public RankProcess {
 public:
  RankProcessImpl(UniqueFd control, std::unique_ptr<HostChannel> channel,
                  std::unique_ptr<EngineWatch> watch, RankSetup setup, ProcessLinks links)
      : control_(std::move(control)),
        setup_(std::move(setup)),
        links_(std::move(links)),
        channel_(std::move(channel)),
        watch_(std::move(watch)) {}

  const RankPlace& place() const override { return setup_.place; }
  const std::string& payload() const override { return setup_.payload; }

  Status Run(const Loader& load) override {
    Status status;
    try {
      status = LoadAndServe(load);
    } catch (const std::exception&) {
      // The only exceptions here are the library's own, such as no memory.
      status = ResourceExhaustedError("the rank ran out of memory");
    }
    if (!status.ok()) {
      links_.Abort();
      (void)Send(RankMessage::kFailed, EncodeStatus(status));
    }
    return status;
  }

 private:
  Status LoadAndServe(const Loader& load) {
    StatusOr<std::unique_ptr<Rank>> loaded = load(setup_.place, links_.links());
    INFERD_RETURN_IF_ERROR(loaded.status());
    rank_ = std::move(*loaded);
    INFERD_RETURN_IF_ERROR(Send(RankMessage::kLoaded, Encode(FactsOf(rank_->info()))));
    for (;;) {
      // Another plan is looked for as long as the oldest that has begun is not done.
      const bool is_full = under_way_ == rank_->MaxSteps();
      if (is_full || (under_way_ > 0 && rank_->IsDone())) {
        // The device has the next step as well: there is time.
        if (is_full && under_way_ > 1 && !rank_->IsDone()) (void)rank_->Tend();
        INFERD_RETURN_IF_ERROR(EndPlan());
        continue;
      }
      StatusOr<HostMessage> message = channel_->Receive(under_way_ > 0 ? kPollUs
                                                        : tends_       ? 0
                                                                       : kPatienceUs);
      if (message.status().code() == StatusCode::kDeadlineExceeded) {
        if (under_way_ == 0) tends_ = tends_ && rank_->Tend();
        continue;
      }
      INFERD_RETURN_IF_ERROR(message.status());
      switch (static_cast<RankMessage>(message->kind)) {
        case RankMessage::kStop:
          return OkStatus();
        case RankMessage::kWarmUp:
          INFERD_RETURN_IF_ERROR(rank_->WarmUp());
          INFERD_RETURN_IF_ERROR(Send(RankMessage::kReady, {}));
          tends_ = true;
          break;
        case RankMessage::kPlan:
          INFERD_RETURN_IF_ERROR(BeginPlan(message->payload));
          break;
        default:
          return Status(StatusCode::kDataLoss,
                        "a message of unknown kind " + std::to_string(message->kind));
      }
    }
  }

  Status BeginPlan(std::span<const std::byte> bytes) {
    INFERD_ASSIGN_OR_RETURN(const BatchPlan plan, DecodePlan(bytes));
    rank_->Begin(plan);
    ++under_way_;
    return OkStatus();
  }

  Status EndPlan() {
    const StepResult result = rank_->End();
    --under_way_;
    EncodeResult(result, bytes_);
    INFERD_RETURN_IF_ERROR(Send(RankMessage::kResult, bytes_));
    return result.error;
  }

  Status Send(RankMessage kind, std::span<const std::byte> bytes) {
    return channel_->Send(static_cast<uint32_t>(kind), bytes);
  }

  const UniqueFd control_;
  const RankSetup setup_;
  ProcessLinks links_;  // outlives the rank
  std::unique_ptr<HostChannel> channel_;
  const std::unique_ptr<EngineWatch> watch_;  // of a channel between hosts
  std::unique_ptr<Rank> rank_;
  int under_way_ = 0;   // plans that have begun and not ended
  bool tends_ = false;  // the rank has to be tended, as far as is known
  std::vector<std::byte> bytes_;
};

StatusOr<RankSetup> ReceiveSetup(HostChannel& channel, const std::string& version) {
  // The engine may be waiting for ranks of other hosts.
  StatusOr<HostMessage> message = channel.Receive(kPatienceUs);
  while (message.status().code() == StatusCode::kDeadlineExceeded) {
    message = channel.Receive(kPatienceUs);
  }
  INFERD_RETURN_IF_ERROR(message.status());
  if (static_cast<RankMessage>(message->kind) != RankMessage::kSetup) {
    return Status(StatusCode::kDataLoss, "the engine does not begin with a setup");
  }
  INFERD_ASSIGN_OR_RETURN(RankSetup setup, DecodeSetup(message->payload));
  if (setup.version != version) {
    return FailedPreconditionError("the engine is of version " + setup.version + ", this rank of " +
                                   version);
  }
  return setup;
}

StatusOr<std::unique_ptr<RankProcess>> JoinEngine(int control_fd, const std::string& version,
                                                  EntropySource& entropy, const Clock& clock) {
  UniqueFd control(control_fd);
  INFERD_ASSIGN_OR_RETURN(FdMessage message, ReceiveWithFds(control.get()));
  INFERD_ASSIGN_OR_RETURN(const RankGreeting greeting, DecodeGreeting(message.bytes));
  if (!DieWithParent(static_cast<pid_t>(greeting.parent_pid))) {
    return UnavailableError("the parent is gone");
  }
  AnswerStackRequests();
  (void)prctl(PR_SET_NAME, ("inferd-rank" + std::to_string(greeting.world_rank)).c_str());
  std::array<UniqueFd, kNumLinks> segments;
  size_t next = greeting.ring_bytes > 0 ? 1 : 0;
  for (size_t link = 0; link < kNumLinks; ++link) {
    if ((greeting.shared_links >> link & 1) == 0) continue;
    if (next >= message.fds.size()) return Status(StatusCode::kDataLoss, "a segment is missing");
    segments[link] = std::move(message.fds[next++]);
  }
  const int segment = message.fds.empty() ? -1 : message.fds[0].get();
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<HostChannel> channel,
                          OpenChannel(greeting, segment, entropy, clock));
  std::unique_ptr<EngineWatch> watch;
  if (greeting.ring_bytes == 0) watch = std::make_unique<EngineWatch>(*channel);
  if (!greeting.own_host.empty()) {
    INFERD_RETURN_IF_ERROR(channel->Send(static_cast<uint32_t>(RankMessage::kHere),
                                         std::as_bytes(std::span(greeting.own_host))));
  }
  StatusOr<RankSetup> setup = ReceiveSetup(*channel, version);
  const auto fail = [&](const Status& status) {
    const std::vector<std::byte> bytes = EncodeStatus(status);
    (void)channel->Send(static_cast<uint32_t>(RankMessage::kFailed), bytes);
    return status;
  };
  if (!setup.ok()) return fail(setup.status());
  if (greeting.shared_links != 0 && !(setup->place.shape == greeting.shared_shape)) {
    std::fputs("W|this host splits the model otherwise than the leader: its ranks talk over TCP\n",
               stderr);
    for (UniqueFd& unused : segments) unused.Reset();
  }
  StatusOr<ProcessLinks> links = ProcessLinks::Join(*setup, greeting.key, segments, entropy, clock);
  if (!links.ok()) return fail(links.status().WithPrefix("joining the other ranks"));
  return std::unique_ptr<RankProcess>(
      std::make_unique<RankProcessImpl>(std::move(control), std::move(channel), std::move(watch),
                                        std::move(*setup), std::move(*links)));
}

}  // namespace
}  // namespace runtime

StatusOr<std::unique_ptr<RankProcess>> RankProcess::Join(int control_fd, const std::string& version,
                                                         EntropySource& entropy,
                                                         const Clock& clock) {
  return runtime::JoinEngine(control_fd, version, entropy, clock);
}

}  // namespace inferd
