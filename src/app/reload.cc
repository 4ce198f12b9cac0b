#include "app/reload.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "app/exit_codes.h"
#include "app/serve.h"
#include "app/server_options.h"

namespace inferd::app {
namespace {

// Taken over whenever they differ. The key file is more: its content counts too.
constexpr std::array<std::string_view, 8> kLive = {"log.level",
                                                   "drain.delay",
                                                   "drain.timeout",
                                                   "drain.grace",
                                                   "engine.max_queued_requests",
                                                   "engine.max_queued_tokens",
                                                   "engine.max_queue_time",
                                                   "engine.tenant_queue_share"};
constexpr std::string_view kApiKeysFile = "server.api_keys_file";

bool IsLive(const ConfigKey& key, const ServerConfig& before, const ServerConfig& after) {
  if (std::find(kLive.begin(), kLive.end(), key.name) != kLive.end()) return true;
  // Another file is fine; with none there would be no keys, or keys from nowhere.
  return key.name == kApiKeysFile && !before.server.api_keys_file.empty() &&
         !after.server.api_keys_file.empty();
}

std::string Joined(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

}  // namespace

Reloader::Reloader(const ServeArguments& arguments, const std::vector<std::string>& environment,
                   const LoadedConfig& running, ReloadTargets targets,
                   std::shared_ptr<spdlog::logger> logger)
    : arguments_(arguments),
      environment_(environment),
      targets_(std::move(targets)),
      logger_(std::move(logger)),
      running_(running.config) {}

StatusOr<ReloadReport> Reloader::TryReload() {
  const ConfigResult result = LoadServeConfig(arguments_, environment_);
  if (result.exit_code != kExitOk) return InvalidArgumentError(result.errors);
  const ServerConfig& wanted = result.loaded.config;
  ReloadReport report;
  std::vector<const ConfigKey*> changes;
  for (const ConfigKey& key : ConfigKeys()) {
    if (ConfigValueText(key, wanted) == ConfigValueText(key, running_)) continue;
    if (IsLive(key, running_, wanted)) {
      changes.push_back(&key);
      report.applied.push_back(std::string(key.name) + " " + ConfigValueText(key, wanted));
    } else {
      report.restart_required.emplace_back(key.name);
    }
  }
  // All that can be wrong is read before anything is changed.
  std::shared_ptr<const KeyRing> keys;
  if (!running_.server.api_keys_file.empty() && !wanted.server.api_keys_file.empty()) {
    INFERD_ASSIGN_OR_RETURN(keys, LoadApiKeys(wanted));
  }
  if (targets_.reload_tls) INFERD_RETURN_IF_ERROR(targets_.reload_tls());
  if (targets_.reload_tls) report.applied.emplace_back("TLS files");
  if (keys != nullptr) {
    report.applied.push_back(std::to_string(keys->size()) + " API keys");
    targets_.set_api_keys(std::move(keys));
  }
  for (const ConfigKey* key : changes) {
    // It is a value's own written form.
    INFERD_RETURN_IF_ERROR(SetConfigValue(*key, ConfigValueText(*key, wanted), running_));
  }
  targets_.set_log_level(running_.log.level);
  targets_.set_queue_limits(MakeQueueLimits(running_));
  return report;
}

StatusOr<ReloadReport> Reloader::Reload() {
  std::lock_guard lock(mutex_);
  StatusOr<ReloadReport> report = TryReload();
  if (!report.ok()) {
    logger_->error("reload: the configuration is bad and was left as it is: {}",
                   report.status().message());
    return report;
  }
  logger_->info("reload: log level {}{}{}", running_.log.level,
                report->applied.empty() ? "" : "; taken over: ", Joined(report->applied));
  if (!report->restart_required.empty()) {
    logger_->warn("reload: these changes need a restart: {}", Joined(report->restart_required));
  }
  return report;
}

Status Reloader::SetLogLevel(const std::string& level) {
  std::lock_guard lock(mutex_);
  ServerConfig changed = running_;
  INFERD_RETURN_IF_ERROR(SetConfigValue(*FindConfigKey("log.level"), level, changed));
  targets_.set_log_level(level);
  // After the change, so that it shows at the new level or not at all.
  logger_->info("log level {} until the next reload", level);
  return OkStatus();
}

ServerConfig::Drain Reloader::drain() const {
  std::lock_guard lock(mutex_);
  return running_.drain;
}

QueueLimits Reloader::queue_limits() const {
  std::lock_guard lock(mutex_);
  return MakeQueueLimits(running_);
}

}  // namespace inferd::app
