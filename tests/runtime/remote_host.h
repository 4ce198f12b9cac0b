// Other hosts for tests of ranks in processes, which are threads of the test.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "inferd/base/unique_fd.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/runtime/remote_worker.h"

namespace inferd::testing {

// Of a host that is this one: loopback has addresses for every process. 0 is the leader.
inline std::string LoopbackAddress(int host) {
  return "127." + std::to_string(1 + getpid() / 250 % 250) + "." +
         std::to_string(1 + getpid() % 250) + "." + std::to_string(1 + host);
}

inline RemoteRanks RanksOfHosts(int hosts, std::string leader) {
  RemoteRanks remote;
  remote.num_hosts = hosts;
  remote.leader = std::move(leader);
  remote.port = 20'000;
  remote.key = "a key of sixteen bytes or more";
  return remote;
}

inline RemoteWorkerOptions WorkerOf(const ProcessExecutorOptions& leader, int host,
                                    std::string own_host) {
  RemoteWorkerOptions options;
  options.command = leader.command;
  options.remote = leader.remote;
  options.shape = leader.shape;
  options.host = host;
  options.own_host = std::move(own_host);
  return options;
}

// Runs the ranks of a host until it goes away.
class RemoteHost {
 public:
  // `enter` is called in the host's thread, which keeps what it returns; it may be null, and so
  // may `logger`. The clock outlives the host.
  RemoteHost(RemoteWorkerOptions options, const Clock& clock,
             std::shared_ptr<spdlog::logger> logger,
             std::function<std::shared_ptr<void>()> enter = nullptr)
      : options_(std::move(options)),
        stop_(eventfd(0, EFD_CLOEXEC)),
        thread_([this, &clock, logger = std::move(logger), enter = std::move(enter)] {
          const std::shared_ptr<void> here = enter != nullptr ? enter() : nullptr;
          EXPECT_TRUE(RunRemoteRanks(options_, stop_.get(), clock, logger).ok());
        }) {}
  ~RemoteHost() {
    const uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    thread_.join();
  }
  RemoteHost(const RemoteHost&) = delete;
  RemoteHost& operator=(const RemoteHost&) = delete;

 private:
  const RemoteWorkerOptions options_;
  const UniqueFd stop_;
  std::thread thread_;  // last
};

}  // namespace inferd::testing
