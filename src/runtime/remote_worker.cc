#include "inferd/runtime/remote_worker.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <span>
#include <utility>

#include "inferd/comm/tcp_channel.h"
#include "runtime/child_process.h"
#include "runtime/fd_message.h"
#include "runtime/host_segments.h"
#include "runtime/rank_log.h"
#include "runtime/rank_messages.h"
#include "runtime/remote_listener.h"
#include "runtime/restart_backoff.h"
#include "runtime/stack_dump.h"
#include "spdlog/spdlog.h"

namespace inferd {
namespace runtime {
namespace {

constexpr int64_t kHealthyUs = 60'000'000;
constexpr int64_t kMinWaitMs = 5;
constexpr int64_t kMaxWaitMs = 1'000;
// How long the ranks may live on when one has ended: one that is let go of by the leader ends by
// itself within that time, with a reason in its log. One that still knocks at the leader's door
// would be let in without the other, so that the next attempt fails as well.
constexpr int64_t kLeaveUs = 1'500'000;

// The ranks of this host. They live together, as what they share in memory is of one attempt.
// One thread.
class HostRanks {
 public:
  HostRanks(const RemoteWorkerOptions& options, const Clock& clock,
            std::shared_ptr<spdlog::logger> logger)
      : options_(options),
        count_(options.shape.ranks() / options.remote.num_hosts),
        clock_(clock),
        logger_(logger != nullptr ? std::move(logger) : std::make_shared<spdlog::logger>("ranks")),
        backoff_(options.first_backoff_us, options.last_backoff_us, kHealthyUs) {}

  // Starts the ranks when it is time to, and ends those that must not live on. How long nothing
  // of that is to be done.
  int64_t Look() {
    const int64_t now_us = clock_.NowUs();
    for (Child& child : children_) EndIfStopped(child, now_us);
    if (children_.empty() && now_us >= next_us_) Start();
    const bool leaving = !children_.empty() && next_us_ > 0;
    if (leaving && now_us >= next_us_) {
      for (Child& child : children_) child.process->Kill();
    }
    if (!leaving && !children_.empty()) return kMaxWaitMs;
    return std::clamp<int64_t>((next_us_ - now_us) / 1000 + 1, kMinWaitMs, kMaxWaitMs);
  }

  void AddTo(std::vector<pollfd>& fds) const {
    for (const Child& child : children_) {
      fds.push_back({child.process->pid_fd(), POLLIN, 0});
      fds.push_back({child.log_open ? child.process->log_fd() : -1, POLLIN, 0});
    }
  }

  // `happened`: what AddTo added, polled.
  void Take(std::span<const pollfd> happened) {
    size_t at = 0;
    for (auto child = children_.begin(); child != children_.end(); at += 2) {
      if (happened[at + 1].revents != 0)
        child->log_open = child->log.Read(child->process->log_fd());
      const bool ended = happened[at].revents != 0;
      if (ended) Collect(*child);
      child = ended ? children_.erase(child) : std::next(child);
    }
  }

 private:
  struct Child {
    int rank = 0;
    std::unique_ptr<ChildProcess> process;
    RankLog log;
    bool log_open = true;
    int64_t stopped_since_us = -1;  // -1: it is not, as far as is known
  };

  // What fails now may go well later: it is tried again, as after an end.
  void Start() {
    started_us_ = clock_.NowUs();
    next_us_ = 0;
    const Status started = TryStart();
    if (started.ok()) return;
    logger_->warn("the ranks do not start: {}; trying again", started.ToString());
    children_.clear();  // which ends them
    next_us_ = clock_.NowUs() + backoff_.Next(0);
  }

  Status TryStart() {
    const int first = options_.host * count_;
    INFERD_ASSIGN_OR_RETURN(const HostSegments segments,
                            HostSegments::Create(options_.shape, first, count_));
    for (int rank = first; rank < first + count_; ++rank) {
      RankGreeting greeting;
      greeting.parent_pid = getpid();
      greeting.world_rank = rank;
      greeting.epoch = kEpochOfEngine;
      greeting.max_message_bytes = kMaxRankMessageBytes;
      greeting.key = options_.remote.key;
      greeting.address = JoinAddress(options_.remote.leader, options_.remote.port);
      greeting.remote_rank = rank - count_;
      greeting.num_remote = (options_.remote.num_hosts - 1) * count_;
      greeting.own_host = options_.own_host;
      greeting.silence_us = options_.remote.silence_us;
      std::vector<int> fds;
      segments.AddTo(greeting, rank, fds);
      INFERD_ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> process,
                              ChildProcess::Start(options_.command));
      INFERD_RETURN_IF_ERROR(SendWithFds(process->control_fd(), Encode(greeting), fds)
                                 .WithPrefix("rank " + std::to_string(rank)));
      children_.push_back(Child{rank, std::move(process), RankLog(rank, logger_)});
    }
    return OkStatus();
  }

  // One that is stopped for longer than the leader waits to hear from it is lost there; it
  // would keep its successor from coming.
  void EndIfStopped(Child& child, int64_t now_us) const {
    if (!IsStopped(child.process->pid())) {
      child.stopped_since_us = -1;
      return;
    }
    if (child.stopped_since_us < 0) child.stopped_since_us = now_us;
    if (now_us - child.stopped_since_us <= options_.remote.silence_us) return;
    logger_->warn("rank {} has been stopped for too long", child.rank);
    LogThreads(*logger_, child.rank, child.process->pid());
    child.process->Kill();  // what it leaves is collected as always
    child.stopped_since_us = -1;
  }

  void Collect(Child& child) {
    const ChildExit end = child.process->Wait();
    if (child.log_open) (void)child.log.Read(child.process->log_fd());
    child.log.Finish();
    logger_->warn("rank {} (process {}) {}; starting the ranks of this host again", child.rank,
                  child.process->pid(), end.Text());
    const int64_t now_us = clock_.NowUs();
    if (children_.size() == 1) {
      next_us_ = now_us + backoff_.Next(now_us - started_us_);
    } else if (next_us_ == 0) {
      next_us_ = now_us + kLeaveUs;
    }
  }

  const RemoteWorkerOptions& options_;
  const int count_;
  const Clock& clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  RestartBackoff backoff_;
  std::list<Child> children_;
  int64_t started_us_ = 0;
  // Without children: when they are started. With some: when they are ended, 0 as long as all are
  // there.
  int64_t next_us_ = 0;
};

Status RunRanks(const RemoteWorkerOptions& options, int stop_fd, const Clock& clock,
                const std::shared_ptr<spdlog::logger>& logger) {
  HostRanks ranks(options, clock, logger);
  for (;;) {
    const int64_t wait_ms = ranks.Look();
    std::vector<pollfd> fds;
    fds.push_back({stop_fd, POLLIN, 0});
    ranks.AddTo(fds);
    (void)poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
    if (fds[0].revents != 0) return OkStatus();
    ranks.Take(std::span(fds).subspan(1));
  }
}

}  // namespace
}  // namespace runtime

Status RunRemoteRanks(const RemoteWorkerOptions& options, int stop_fd, const Clock& clock,
                      const std::shared_ptr<spdlog::logger>& logger) {
  return runtime::RunRanks(options, stop_fd, clock, logger);
}

StatusOr<std::string> AddressTowards(const std::string& leader, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(leader.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) return UnavailableError("the leader " + leader + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, freeaddrinfo);
  // Of a datagram socket this sends nothing; it only chooses the way.
  const UniqueFd fd(socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  std::array<char, NI_MAXHOST> host{};
  if (!fd || connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&own), size, host.data(), host.size(), nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return UnavailableError("no way to the leader " + leader + ": " + std::strerror(errno));
  }
  return std::string(host.data());
}

}  // namespace inferd
