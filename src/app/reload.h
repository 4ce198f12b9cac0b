// The part of the configuration that changes without a restart.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "inferd/auth/key_ring.h"
#include "inferd/base/status.h"
#include "inferd/config/config_loader.h"
#include "inferd/engine/engine.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

// Whom a reload reaches; called one at a time, while the reload runs.
struct ReloadTargets {
  std::function<void(const std::string& level)> set_log_level;
  std::function<void(std::shared_ptr<const KeyRing>)> set_api_keys;
  std::function<Status()> reload_tls;  // empty: no TLS
  std::function<void(const QueueLimits&)> set_queue_limits;
};

// Reads the configuration again, whoever asks: SIGHUP, the admin service. What is bad
// anywhere leaves everything as it was. Thread-safe.
class Reloader {
 public:
  // The arguments must outlive this. `running` is what the process began with.
  Reloader(const ServeArguments& arguments, const std::vector<std::string>& environment,
           const LoadedConfig& running, ReloadTargets targets,
           std::shared_ptr<spdlog::logger> logger);

  // What changed and what would need a restart, or what is wrong.
  StatusOr<ReloadReport> Reload();
  // As a reload with another log level, which lasts until the next one.
  Status SetLogLevel(const std::string& level);

  // As it is now.
  ServerConfig::Drain drain() const;
  QueueLimits queue_limits() const;

 private:
  StatusOr<ReloadReport> TryReload();  // mutex_ held

  const ServeArguments& arguments_;
  const std::vector<std::string>& environment_;
  const ReloadTargets targets_;
  const std::shared_ptr<spdlog::logger> logger_;
  mutable std::mutex mutex_;
  ServerConfig running_;  // guarded by mutex_
};

}  // namespace inferd::app
