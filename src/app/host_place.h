#pragma once

#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/config/server_config.h"
#include "inferd/runtime/process_executor.h"

namespace inferd::app {

// Which of the hosts that share a model this one is.
struct HostPlace {
  RemoteRanks remote;    // one host: this one alone
  int index = 0;         // 0: the leader
  std::string own_host;  // of workers: the address for other ranks

  bool leads() const { return index == 0; }
};

// From parallel.hosts, or else, if there is a parallel.key_file, from what a
// LeaderWorkerSet (LWS_LEADER_ADDRESS, LWS_GROUP_SIZE, LWS_WORKER_INDEX) or a launcher
// (MASTER_ADDR, WORLD_SIZE, RANK, MASTER_PORT; one process per host) left in the
// environment. INVALID_ARGUMENT, naming it, for what is missing or makes no sense.
StatusOr<HostPlace> FindHostPlace(const ServerConfig& config,
                                  const std::vector<std::string>& environment);

// `inferd serve` on a host that does not lead: runs its ranks until SIGTERM or SIGINT.
// Call it before any other thread exists, with those signals blocked. The exit code.
int RunWorkerHost(const ServerConfig& config, const HostPlace& place);

}  // namespace inferd::app
