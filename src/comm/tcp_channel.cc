#include "inferd/comm/tcp_channel.h"

#include <utility>

#include "comm/framed_channel.h"
#include "comm/handshake.h"
#include "comm/rendezvous.h"
#include "comm/socket_link.h"
#include "comm/watched_channel.h"
#include "inferd/comm/communicator.h"

namespace inferd {
namespace {

constexpr int64_t kMinSilenceUs = 100'000;

Status CheckOptions(const TcpChannelOptions& options, bool is_rank) {
  HostChannelOptions channel = options.channel;
  if (is_rank && channel.epoch == kEpochOfEngine) channel.epoch = 1;
  INFERD_RETURN_IF_ERROR(CheckHostChannelOptions(channel));
  INFERD_RETURN_IF_ERROR(CheckLinkKey(options.key));
  if (options.silence_us != 0 && options.silence_us < kMinSilenceUs) {
    return InvalidArgumentError("silence_us must be 0 or at least 100000");
  }
  if (options.num_ranks < 1 || options.num_ranks > kMaxRanks) {
    return InvalidArgumentError("the number of ranks must be in 1.." + std::to_string(kMaxRanks));
  }
  return OkStatus();
}

Hello HelloOf(const TcpChannelOptions& options, HelloRole role, int rank) {
  Hello hello;
  hello.role = role;
  hello.epoch = options.channel.epoch;
  hello.rank = static_cast<uint32_t>(rank);
  hello.world_size = static_cast<uint32_t>(options.num_ranks);
  hello.size = static_cast<uint64_t>(options.channel.max_message_bytes);
  hello.silence_us = static_cast<uint64_t>(options.silence_us);
  return hello;
}

// What both ends ask of the other; empty when all is well.
std::string JudgeShape(const Hello& mine, const Hello& theirs, HelloRole role) {
  if (theirs.role != role) return "a connection was refused that is for something else";
  const bool any = mine.epoch == kEpochOfEngine || theirs.epoch == kEpochOfEngine;
  if (theirs.epoch != mine.epoch && !any) {
    return "a rank of epoch " + std::to_string(theirs.epoch) + " was refused, this is " +
           std::to_string(mine.epoch);
  }
  if (theirs.world_size != mine.world_size || theirs.size != mine.size) {
    return "a rank with another number of ranks or longest message was refused";
  }
  if (theirs.silence_us != mine.silence_us) {
    return "a rank whose heartbeat has another time-out was refused";
  }
  return "";
}

std::unique_ptr<HostChannel> ChannelOver(Handshake& done, const TcpChannelOptions& options,
                                         const Clock& clock) {
  HostChannelOptions channel = options.channel;
  if (channel.epoch == kEpochOfEngine) channel.epoch = done.theirs().epoch;
  const FrameKeys keys{done.SendKey(), done.ReceiveKey()};
  auto framed = std::make_unique<FramedChannel>(
      std::make_unique<SocketLink>(done.TakeSocket(), clock), channel, keys, clock);
  if (options.silence_us == 0) return framed;
  return std::make_unique<WatchedChannel>(std::move(framed), options.silence_us, options.on_alert,
                                          clock);
}

}  // namespace

StatusOr<std::vector<std::unique_ptr<HostChannel>>> AcceptTcpChannels(
    const TcpChannelOptions& options, int listen_fd, EntropySource& entropy, const Clock& clock,
    const std::function<Status()>& goes_on) {
  INFERD_RETURN_IF_ERROR(CheckOptions(options, /*is_rank=*/false));
  const int64_t deadline_us = clock.NowUs() + options.timeout_us;
  UniqueFd listener;
  if (listen_fd < 0) {
    INFERD_ASSIGN_OR_RETURN(listener, ListenOn(options.address));
    listen_fd = listener.get();
  }
  const Hello mine = HelloOf(options, HelloRole::kEngine, 0);
  std::vector<std::unique_ptr<HostChannel>> channels(static_cast<size_t>(options.num_ranks));
  std::vector<int> fds(channels.size(), -1);  // the channels' own
  const auto is_there = [&](size_t rank) {
    return channels[rank] != nullptr && !OtherEndGone(fds[rank]);
  };
  const Handshake::Judge judge = [&](const Hello& theirs) {
    if (std::string why = JudgeShape(mine, theirs, HelloRole::kEngineRank); !why.empty()) {
      return why;
    }
    if (theirs.rank >= channels.size()) {
      return "a rank was refused that says it is " + std::to_string(theirs.rank);
    }
    if (is_there(theirs.rank)) {
      return "a second rank " + std::to_string(theirs.rank) + " was refused";
    }
    return std::string();
  };
  Receptionist receptionist(listen_fd, mine, options.key, judge, entropy, clock);
  size_t missing = channels.size();
  while (missing > 0) {
    if (goes_on) INFERD_RETURN_IF_ERROR(goes_on());
    if (auto done = receptionist.Next()) {
      const size_t rank = done->theirs().rank;
      // Two of one rank may have been let in at once; the first stays.
      if (is_there(rank)) continue;
      if (channels[rank] == nullptr) --missing;
      fds[rank] = done->socket_fd();
      channels[rank] = ChannelOver(*done, options, clock);
    } else if (clock.NowUs() >= deadline_us) {
      break;
    }
  }
  if (missing == 0) return channels;
  std::string names;
  for (size_t r = 0; r < channels.size(); ++r) {
    if (channels[r] == nullptr) names += (names.empty() ? "rank " : ", ") + std::to_string(r);
  }
  const std::string& refusal = receptionist.refusal();
  return Status(StatusCode::kDeadlineExceeded,
                names + " did not come in time" + (refusal.empty() ? "" : "; " + refusal));
}

StatusOr<std::unique_ptr<HostChannel>> ConnectTcpChannel(const TcpChannelOptions& options, int rank,
                                                         EntropySource& entropy,
                                                         const Clock& clock) {
  INFERD_RETURN_IF_ERROR(CheckOptions(options, /*is_rank=*/true));
  if (rank < 0 || rank >= options.num_ranks) {
    return InvalidArgumentError("rank " + std::to_string(rank) + " is not below " +
                                std::to_string(options.num_ranks));
  }
  const Hello mine = HelloOf(options, HelloRole::kEngineRank, rank);
  const Handshake::Judge judge = [&](const Hello& theirs) {
    return JudgeShape(mine, theirs, HelloRole::kEngine);
  };
  INFERD_ASSIGN_OR_RETURN(const auto done,
                          ConnectAndShake(options.address, mine, options.key, judge, entropy, clock,
                                          clock.NowUs() + options.timeout_us));
  return ChannelOver(*done, options, clock);
}

}  // namespace inferd
