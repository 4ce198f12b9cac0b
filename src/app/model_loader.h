#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "inferd/backends/backend.h"
#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/config/server_config.h"
#include "inferd/runtime/rank.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

// The backend that `config` names. It takes no memory worth mention yet, so a
// machine that cannot run it is found out first.
StatusOr<std::unique_ptr<Backend>> MakeBackend(const ServerConfig& config,
                                               const std::shared_ptr<spdlog::logger>& logger);

// A model ready to run. The executor uses the backend until it is destroyed.
struct LoadedModel {
  ServedModel served;
  std::unique_ptr<LocalExecutor> executor;
};

// Reads the checkpoint that `config` names: tokenizer, chat template, weights.
// One line that says what is wrong otherwise.
StatusOr<LoadedModel> LoadServedModel(const ServerConfig& config, Backend& backend,
                                      const Clock& clock,
                                      const std::shared_ptr<spdlog::logger>& logger);

// What `serve --dry-run` prints: where the memory would go. Reads the checkpoint's
// headers only.
StatusOr<std::string> DescribeMemory(const ServerConfig& config);

}  // namespace inferd::app
