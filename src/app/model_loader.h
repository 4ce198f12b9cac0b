#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inferd/backends/backend.h"
#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/config/server_config.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/runtime/rank.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

// The backends of one replica.
using ReplicaBackends = std::vector<std::unique_ptr<Backend>>;

// The backend that `config` names, once for each rank of each replica; where ranks are
// processes of their own only that of rank 0, to plan with. They take no memory worth mention yet,
// so a machine that cannot run them is found out first. `num_hosts` share them out.
StatusOr<std::vector<ReplicaBackends>> MakeBackends(const ServerConfig& config, int num_hosts,
                                                    const std::shared_ptr<spdlog::logger>& logger);

// A model ready to run. The executors use the backends that there are until they are destroyed.
struct LoadedModel {
  ServedModel served;                                     // the replicas together
  std::vector<std::unique_ptr<LocalExecutor>> executors;  // by replica
};

// Reads the checkpoint that `config` names: tokenizer, chat template, weights.
// One line that says what is wrong otherwise. `remote`: ranks of
// other hosts. Clock and entropy outlive the model. Backends of ranks that are processes are
// destroyed when the ranks are planned, and their devices given back: every rank has its own.
StatusOr<LoadedModel> LoadServedModel(const ServerConfig& config,
                                      std::vector<ReplicaBackends>* backends,
                                      const RemoteRanks& remote, EntropySource& entropy,
                                      const Clock& clock,
                                      const std::shared_ptr<spdlog::logger>& logger);

// What `serve --dry-run` prints: where the memory would go. Reads the checkpoint's
// headers only.
StatusOr<std::string> DescribeMemory(const ServerConfig& config);

}  // namespace inferd::app
