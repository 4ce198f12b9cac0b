#include "inferd/runtime/remote_worker.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "inferd/comm/tcp_channel.h"
#include "runtime/child_process.h"
#include "runtime/fd_message.h"
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
constexpr int64_t kMaxWaitMs = 1'000;

// One rank of this host. One thread.
class RemoteRank {
 public:
  RemoteRank(const RemoteWorkerOptions& options, int index, const Clock& clock,
             std::shared_ptr<spdlog::logger> logger)
      : options_(options),
        index_(index),
        clock_(clock),
        logger_(std::move(logger)),
        backoff_(options.first_backoff_us, options.last_backoff_us, kHealthyUs),
        log_(WorldRank(), logger_) {}

  int64_t start_at_us() const { return process_ == nullptr ? start_at_us_ : -1; }
  int pid_fd() const { return process_ == nullptr ? -1 : process_->pid_fd(); }
  int log_fd() const { return process_ == nullptr || !log_open_ ? -1 : process_->log_fd(); }
  void ReadLog() { log_open_ = log_.Read(process_->log_fd()); }

  // What fails now may go well later: it is tried again, as after an end.
  void Start() {
    const Status started = TryStart();
    if (started.ok()) return;
    process_.reset();
    start_at_us_ = clock_.NowUs() + backoff_.Next(0);
    if (logger_ != nullptr) {
      logger_->warn("rank {} does not start: {}; trying again", WorldRank(), started.ToString());
    }
  }
  // One that is stopped for longer than the leader waits to hear from it is lost there; it
  // would keep its successor from coming.
  void EndIfStopped() {
    if (process_ == nullptr || !IsStopped(process_->pid())) {
      stopped_since_us_ = -1;
      return;
    }
    const int64_t now_us = clock_.NowUs();
    if (stopped_since_us_ < 0) stopped_since_us_ = now_us;
    if (now_us - stopped_since_us_ <= options_.remote.silence_us) return;
    if (logger_ != nullptr) {
      logger_->warn("rank {} has been stopped for too long", WorldRank());
      LogThreads(*logger_, WorldRank(), process_->pid());
    }
    process_->Kill();  // what it leaves is collected as always
    stopped_since_us_ = -1;
  }
  void Collect() {
    const ChildExit end = process_->Wait();
    if (log_open_) ReadLog();
    log_.Finish();
    const int64_t now_us = clock_.NowUs();
    start_at_us_ = now_us + backoff_.Next(now_us - started_us_);
    if (logger_ != nullptr) {
      logger_->warn("rank {} (process {}) {}; starting it again", WorldRank(), process_->pid(),
                    end.Text());
    }
    process_.reset();
  }

 private:
  int WorldRank() const { return options_.host * options_.ranks_per_host + index_; }

  Status TryStart() {
    RankGreeting greeting;
    greeting.parent_pid = getpid();
    greeting.world_rank = WorldRank();
    greeting.epoch = kEpochOfEngine;
    greeting.max_message_bytes = kMaxRankMessageBytes;
    greeting.key = options_.remote.key;
    greeting.address = JoinAddress(options_.remote.leader, options_.remote.port);
    greeting.remote_rank = WorldRank() - options_.ranks_per_host;
    greeting.num_remote = (options_.remote.num_hosts - 1) * options_.ranks_per_host;
    greeting.own_host = options_.own_host;
    greeting.silence_us = options_.remote.silence_us;
    INFERD_ASSIGN_OR_RETURN(process_, ChildProcess::Start(options_.command));
    log_open_ = true;
    started_us_ = clock_.NowUs();
    return SendWithFds(process_->control_fd(), Encode(greeting), {});
  }

  const RemoteWorkerOptions& options_;
  const int index_;
  const Clock& clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  RestartBackoff backoff_;
  RankLog log_;
  std::unique_ptr<ChildProcess> process_;
  bool log_open_ = false;
  int64_t started_us_ = 0;
  int64_t start_at_us_ = 0;
  int64_t stopped_since_us_ = -1;  // -1: it is not, as far as is known
};

Status RunRanks(const RemoteWorkerOptions& options, int stop_fd, const Clock& clock,
                const std::shared_ptr<spdlog::logger>& logger) {
  std::vector<std::unique_ptr<RemoteRank>> ranks;
  ranks.reserve(static_cast<size_t>(options.ranks_per_host));
  for (int i = 0; i < options.ranks_per_host; ++i) {
    ranks.push_back(std::make_unique<RemoteRank>(options, i, clock, logger));
  }
  for (;;) {
    std::vector<pollfd> fds;
    fds.push_back({stop_fd, POLLIN, 0});
    int64_t wait_ms = kMaxWaitMs;
    for (const std::unique_ptr<RemoteRank>& rank : ranks) {
      const int64_t now_us = clock.NowUs();
      if (rank->start_at_us() >= 0 && rank->start_at_us() <= now_us) {
        rank->Start();
      }
      if (rank->start_at_us() >= 0) {
        wait_ms = std::clamp<int64_t>((rank->start_at_us() - now_us) / 1000 + 1, 0, wait_ms);
      }
      fds.push_back({rank->pid_fd(), POLLIN, 0});
      fds.push_back({rank->log_fd(), POLLIN, 0});
    }
    (void)poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
    if (fds[0].revents != 0) return OkStatus();
    for (const std::unique_ptr<RemoteRank>& rank : ranks) rank->EndIfStopped();
    for (size_t i = 0; i < ranks.size(); ++i) {
      if (fds[2 * i + 2].revents != 0) ranks[i]->ReadLog();
      if (fds[2 * i + 1].revents != 0) ranks[i]->Collect();
    }
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
