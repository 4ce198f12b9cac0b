#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/config/config_key.h"
#include "inferd/config/server_config.h"

namespace inferd {

// A configuration and where each of its values came from.
struct LoadedConfig {
  ServerConfig config;
  // One per ConfigKeys() entry: "default", "FILE:LINE", "env NAME" or "flag --x".
  std::vector<std::string> origins;
};

// Collects the sources of a configuration. Later calls win, so the caller
// applies them in the order file, environment, flags. Each Apply reports every
// error of its source at once, one per line. One thread.
class ConfigLoader {
 public:
  static constexpr int64_t kMaxFileBytes = 1 << 20;

  ConfigLoader();

  // NOT_FOUND when the file cannot be read; INVALID_ARGUMENT for its content.
  Status ApplyFile(const std::filesystem::path& path);
  // YAML text: a map of sections, each a map of keys. `origin` names the file.
  Status ApplyYaml(std::string_view text, std::string_view origin);
  // Entries are "NAME=value". Only names INFERD_<SECTION>__<KEY> count; others
  // that merely begin with INFERD_ are left alone (Kubernetes makes such).
  Status ApplyEnvironment(const std::vector<std::string>& entries);
  // `name` is a key ("engine.depth"); `flag` is how the user wrote it.
  Status ApplyFlag(std::string_view name, std::string_view value, std::string_view flag);

  // Checks what concerns more than one key.
  StatusOr<LoadedConfig> Finish() const;

 private:
  Status Set(std::string_view name, std::string_view value, std::string origin);

  LoadedConfig loaded_;
};

// What no single key can say: INVALID_ARGUMENT listing every violation.
Status CheckConfig(const ServerConfig& config);

// The effective configuration as YAML, each value with its origin as a comment.
// Feeding it back gives the same configuration.
std::string PrintConfig(const LoadedConfig& loaded);

// "Unknown configuration key engine.max_runing; did you mean engine.max_running?"
std::string UnknownKeyMessage(std::string_view name);

}  // namespace inferd
