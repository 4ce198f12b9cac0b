#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/backends/backend.h"
#include "inferd/base/status.h"
#include "inferd/config/server_config.h"
#include "inferd/model/parallel.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/runtime/rank.h"
#include "spdlog/logger.h"

namespace inferd::app {

ParallelShape ShapeOf(const ServerConfig& config);
// With whether sums may go within so many hosts first.
ParallelShape ShapeOnHosts(const ServerConfig& config, int num_hosts);
// Whether ranks on such a backend are processes of their own. Left to choose, a device's are,
// as its errors end the process: a rank that ends so is started again, and the daemon lives.
bool RanksAreProcesses(const ServerConfig& config, const Backend& backend);
// Of this machine, over all replicas.
int RanksHere(const ServerConfig& config);
// Plans in flight: as configured, or as many as fill the stages.
int DepthOf(const ServerConfig& config);

// How the backend of rank `rank` of the `ranks_here` of this machine is made; no logger.
BackendOptions BackendOptionsOf(const ServerConfig& config, int rank, int ranks_here);

// The backend that `config` names, for rank `rank` of the `ranks_here` of this machine.
StatusOr<std::unique_ptr<Backend>> MakeBackend(const ServerConfig& config, int rank, int ranks_here,
                                               const std::shared_ptr<spdlog::logger>& logger);

// FAILED_PRECONDITION or UNAVAILABLE where the ranks of such a backend, `ranks_here` on this
// machine, could not exchange what they compute.
Status CheckSplit(const ServerConfig& config, const Backend& backend, int ranks_here);

// How the ranks of a replica load the model, where `backend` is that of any of them. The
// memory that there is now is for `replicas_left` replicas, this one among them.
RankOptions MakeRankOptions(const ServerConfig& config, const Backend& backend, int replicas_left,
                            const std::shared_ptr<spdlog::logger>& logger);

// What a rank's process is told (ProcessExecutorOptions::payload): the part of the
// configuration that is about ranks, and what the group has agreed on.
struct RankPayload {
  ServerConfig config;
  int32_t num_blocks = 0;
  int32_t ranks_here = 1;  // on its machine, of all replicas
  int32_t first_rank = 0;  // of its replica, among these
};
std::string EncodeRankPayload(const RankPayload& payload);
// DATA_LOSS for what is no such thing.
StatusOr<RankPayload> DecodeRankPayload(const std::string& text);

// How the processes of a replica's ranks are run; `remote`: those of other hosts.
ProcessExecutorOptions MakeProcessOptions(const ServerConfig& config, int replica,
                                          int32_t num_blocks, const RemoteRanks& remote);

// The version that all ranks must have.
std::string ProgramVersion();

}  // namespace inferd::app
