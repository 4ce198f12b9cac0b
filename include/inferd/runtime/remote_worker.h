// A host whose ranks belong to an engine on another one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/model/parallel.h"
#include "inferd/runtime/process_executor.h"
#include "spdlog/logger.h"

namespace inferd {

struct RemoteWorkerOptions {
  std::vector<std::string> command;  // as ProcessExecutorOptions::command
  RemoteRanks remote;
  // As this host's configuration has it. What the leader says counts; only where both are the same
  // do the ranks of this host share memory.
  ParallelShape shape;
  int host = 1;          // which one this is; 0 is the leader
  std::string own_host;  // the address on which its ranks listen for others
  int64_t first_backoff_us = 100'000;
  int64_t last_backoff_us = 30'000'000;
};

// Runs this host's ranks, each a process that connects to the leader and is told there
// what it is. They live together: when one ends the others have a moment to end too, and all are
// started again, with new memory to share. Returns once `stop_fd` is readable, with
// every rank ended. `logger` may be null.
Status RunRemoteRanks(const RemoteWorkerOptions& options, int stop_fd, const Clock& clock,
                      const std::shared_ptr<spdlog::logger>& logger);

// The address of this host from which `leader` is reached. UNAVAILABLE, naming it, when
// it is not.
StatusOr<std::string> AddressTowards(const std::string& leader, int port);

}  // namespace inferd
