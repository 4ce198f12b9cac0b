// A host whose ranks belong to an engine on another one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/runtime/process_executor.h"
#include "spdlog/logger.h"

namespace inferd {

struct RemoteWorkerOptions {
  std::vector<std::string> command;  // as ProcessExecutorOptions::command
  RemoteRanks remote;
  int ranks_per_host = 1;
  int host = 1;          // which one this is; 0 is the leader
  std::string own_host;  // the address on which its ranks listen for others
  int64_t first_backoff_us = 100'000;
  int64_t last_backoff_us = 30'000'000;
};

// Runs this host's ranks, each a process that connects to the leader and is told there
// what it is; one that ends is started again. Returns once `stop_fd` is readable, with
// every rank ended. `logger` may be null.
Status RunRemoteRanks(const RemoteWorkerOptions& options, int stop_fd, const Clock& clock,
                      const std::shared_ptr<spdlog::logger>& logger);

// The address of this host from which `leader` is reached. UNAVAILABLE, naming it, when
// it is not.
StatusOr<std::string> AddressTowards(const std::string& leader, int port);

}  // namespace inferd
