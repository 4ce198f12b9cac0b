// A second host for a run: this one, at another address of loopback.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "inferd/base/unique_fd.h"
#include "inferd/runtime/remote_worker.h"
#include "runtime/chaos/chaos_run.h"

namespace inferd::testing {

inline constexpr const char* kDeploymentKey = "a key of sixteen bytes or more";
inline constexpr int kLeaderPort = 20'000;
inline constexpr int64_t kSilenceUs = 1'000'000;

// Loopback has addresses for every process: 1 the leader's, 2 the worker's, 3 what is between.
inline std::string HostAddress(int host) {
  return "127." + std::to_string(1 + getpid() / 250 % 250) + "." +
         std::to_string(1 + getpid() % 250) + "." + std::to_string(host);
}

// Of two hosts with as many ranks each.
inline void MakeLeader(ChaosRun& run) {
  RemoteRanks& remote = run.options().remote;
  remote.num_hosts = 2;
  remote.leader = HostAddress(1);
  remote.port = kLeaderPort;
  remote.key = kDeploymentKey;
  remote.silence_us = kSilenceUs;
  run.scene().port = kLeaderPort;
}

// The worker, which takes `leader` for the leader. Outlives the run's engine and ranks.
class SecondHost {
 public:
  SecondHost(ChaosRun& run, const std::string& leader)
      : stop_(eventfd(0, EFD_CLOEXEC)),
        options_(OptionsFor(run, leader)),
        logger_(run.logger()),
        thread_(
            [this] { EXPECT_TRUE(RunRemoteRanks(options_, stop_.get(), clock_, logger_).ok()); }) {}
  ~SecondHost() {
    const uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    thread_.join();
  }

 private:
  static RemoteWorkerOptions OptionsFor(ChaosRun& run, const std::string& leader) {
    RemoteWorkerOptions options;
    options.command = run.options().command;
    options.remote = run.options().remote;
    options.remote.leader = leader;
    options.shape = run.options().shape;
    options.own_host = HostAddress(2);
    options.first_backoff_us = 10'000;
    options.last_backoff_us = 50'000;
    return options;
  }

  const SystemClock clock_;
  const UniqueFd stop_;
  const RemoteWorkerOptions options_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::thread thread_;  // last
};

}  // namespace inferd::testing
