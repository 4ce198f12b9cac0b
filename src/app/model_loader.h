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
#include "inferd/runtime/rank.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

// The backend that `config` names, once for each rank; where ranks are processes of their
// own only that of rank 0, to plan with. They take no memory worth mention yet, so a
// machine that cannot run them is found out first.
StatusOr<std::vector<std::unique_ptr<Backend>>> MakeBackends(
    const ServerConfig& config, const std::shared_ptr<spdlog::logger>& logger);

// A model ready to run. The executor uses the backends until it is destroyed, unless its
// ranks are processes.
struct LoadedModel {
  ServedModel served;
  std::unique_ptr<LocalExecutor> executor;
};

// Reads the checkpoint that `config` names: tokenizer, chat template, weights.
// One line that says what is wrong otherwise. Clock and entropy outlive the model.
StatusOr<LoadedModel> LoadServedModel(const ServerConfig& config,
                                      std::span<const std::unique_ptr<Backend>> backends,
                                      EntropySource& entropy, const Clock& clock,
                                      const std::shared_ptr<spdlog::logger>& logger);

// What `serve --dry-run` prints: where the memory would go. Reads the checkpoint's
// headers only.
StatusOr<std::string> DescribeMemory(const ServerConfig& config);

}  // namespace inferd::app
