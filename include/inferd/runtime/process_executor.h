// An executor whose ranks are processes, which may die and are started again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/model/parallel.h"
#include "inferd/runtime/rank.h"
#include "spdlog/logger.h"

namespace inferd {

// Ranks on other hosts. The first host, the leader, has the engine and the first ranks of
// the world; the others follow by host, as many on each.
struct RemoteRanks {
  int num_hosts = 1;
  // Name or address of the leader, where it listens for ranks, and nowhere else. Ranks
  // listen for each other at the ports after `port`, on the address of their host.
  std::string leader;
  int port = 0;
  std::string key;  // the deployment's secret, at least 16 bytes
  // Ranks of other hosts, and the leader for them, are lost when they have not been heard
  // for longer (TcpChannelOptions::silence_us); the same on all hosts.
  int64_t silence_us = 10'000'000;
};

struct ProcessExecutorOptions {
  ParallelShape shape;
  int max_in_flight = 2;
  // Runs `inferd rank` or what does the same (RankProcess): a path and arguments, to
  // which the number of the control descriptor is added.
  std::vector<std::string> command;
  std::string version;  // of the program; a rank of another one is refused
  std::string payload;  // for RankProcess::payload(), as it is
  RemoteRanks remote;
  // How long the ranks may take to load and warm up, and how long to wait for those of
  // other hosts.
  int64_t start_timeout_us = 600'000'000;
  // Before ranks are started again: doubles from the first to the last with every loss,
  // until they have lived for `healthy_us`.
  int64_t first_backoff_us = 100'000;
  int64_t last_backoff_us = 30'000'000;
  int64_t healthy_us = 60'000'000;
  // So many starts in a row that fail are the end.
  int max_failed_starts = 8;
};

// Starts a process for each rank and waits until all have loaded; the status of the
// first that could not otherwise. `infos` is what PlanGroup said of them. A rank that
// dies, answers with an error, or hangs (see Executor::LimitStep) ends them all, and they
// are started again, as long as the executor lives. What they write to standard error
// goes to `logger`, which may be null, with the rank's number. Hung ranks are asked for
// their stacks first.
StatusOr<std::unique_ptr<LocalExecutor>> StartProcessExecutor(
    ProcessExecutorOptions options, std::vector<RankInfo> infos, EntropySource& entropy,
    const Clock& clock, std::shared_ptr<spdlog::logger> logger);

}  // namespace inferd
