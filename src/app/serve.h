#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "inferd/auth/key_ring.h"
#include "inferd/base/status.h"
#include "inferd/config/config_loader.h"

namespace inferd::app {

// The configuration of file, environment ("NAME=value" entries) and flags, or
// the exit code after saying on standard error what is wrong.
struct ConfigResult {
  int exit_code = 0;
  LoadedConfig loaded;
  std::string errors;  // one per line
};
ConfigResult LoadServeConfig(const ServeArguments& arguments,
                             const std::vector<std::string>& environment);

// The keys of server.api_keys_file, null when there is none.
StatusOr<std::shared_ptr<const KeyRing>> LoadApiKeys(const ServerConfig& config);

// `inferd serve`: runs until a signal ends it; returns the exit code. Call it
// before any other thread exists.
int RunServe(const ServeArguments& arguments, const std::vector<std::string>& environment);

}  // namespace inferd::app
