#include "app/serve.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "app/daemon.h"
#include "app/exit_codes.h"
#include "app/host_place.h"
#include "app/model_loader.h"
#include "app/signals.h"
#include "app/small_file.h"
#include "inferd/net/tls.h"

namespace inferd::app {
namespace {

void PrintErrors(const std::string& text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::fprintf(stderr, "inferd: %.*s\n", static_cast<int>(end - begin), text.data() + begin);
    begin = end + 1;
  }
}

// No core file on whatever ends the process: memory holds prompts and answers. The hard
// limit stays, so that a debugger's user can raise it again (prlimit).
void DisableCoreDumps() {
  rlimit limit{};
  if (getrlimit(RLIMIT_CORE, &limit) != 0) return;
  limit.rlim_cur = 0;
  setrlimit(RLIMIT_CORE, &limit);
}

int DryRun(const ServerConfig& config) {
  const StatusOr<std::string> text = DescribeMemory(config);
  if (!text.ok()) {
    PrintErrors(text.status().ToString());
    return kExitFailure;
  }
  std::fputs(text->c_str(), stdout);
  return kExitOk;
}

// Null without TLS.
StatusOr<std::shared_ptr<TlsServerContext>> LoadTls(const ServerConfig& config) {
  const ServerConfig::Server& server = config.server;
  if (server.tls_certificate.empty()) return std::shared_ptr<TlsServerContext>();
  return TlsServerContext::Load({server.tls_certificate, server.tls_key, server.tls_client_ca});
}

StatusOr<ServeFiles> ReadFiles(const ServerConfig& config) {
  ServeFiles files;
  INFERD_ASSIGN_OR_RETURN(files.keys, LoadApiKeys(config));
  StatusOr<std::string> authorities = ReadSmallFile(config.tracing.otlp_ca);
  if (!authorities.ok()) {
    return InvalidArgumentError("tracing.otlp_ca: " + authorities.status().message());
  }
  files.trace_authorities = std::move(*authorities);
  INFERD_ASSIGN_OR_RETURN(files.tls, LoadTls(config));
  return files;
}

}  // namespace

ConfigResult LoadServeConfig(const ServeArguments& arguments,
                             const std::vector<std::string>& environment) {
  ConfigResult result;
  ConfigLoader loader;
  const auto note = [&result](const Status& status, int exit_code) {
    if (status.ok()) return;
    if (result.exit_code == kExitOk) result.exit_code = exit_code;
    if (!result.errors.empty()) result.errors += '\n';
    result.errors += status.message();
  };
  if (!arguments.config_file.empty()) note(loader.ApplyFile(arguments.config_file), kExitConfig);
  note(loader.ApplyEnvironment(environment), kExitConfig);
  for (const KeyFlag& flag : arguments.flags) {
    note(loader.ApplyFlag(flag.key, flag.value, flag.flag), kExitUsage);
  }
  if (result.exit_code != kExitOk) return result;
  StatusOr<LoadedConfig> loaded = loader.Finish();
  note(loaded.ok() ? OkStatus() : loaded.status(), kExitConfig);
  if (loaded.ok()) result.loaded = std::move(*loaded);
  return result;
}

StatusOr<std::shared_ptr<const KeyRing>> LoadApiKeys(const ServerConfig& config) {
  if (config.server.api_keys_file.empty()) return std::shared_ptr<const KeyRing>();
  return KeyRing::Load(config.server.api_keys_file);
}

int RunServe(const ServeArguments& arguments, const std::vector<std::string>& environment) {
  ConfigResult result = LoadServeConfig(arguments, environment);
  const bool needs_model = arguments.mode != ServeMode::kPrintConfig;
  if (result.exit_code == kExitOk && needs_model && result.loaded.config.model.path.empty()) {
    result.exit_code = kExitConfig;
    result.errors = "model.path is not set: give --model DIR or a configuration file";
  }
  ServeFiles files;
  if (result.exit_code == kExitOk && needs_model) {
    StatusOr<ServeFiles> read = ReadFiles(result.loaded.config);
    if (read.ok()) {
      files = std::move(*read);
    } else {
      result.exit_code = kExitConfig;
      result.errors = read.status().message();
    }
  }
  if (result.exit_code != kExitOk) {
    PrintErrors(result.errors);
    return result.exit_code;
  }
  switch (arguments.mode) {
    case ServeMode::kCheckConfig:
      std::puts("the configuration is valid");
      return kExitOk;
    case ServeMode::kPrintConfig:
      std::fputs(PrintConfig(result.loaded).c_str(), stdout);
      return kExitOk;
    case ServeMode::kDryRun:
      return DryRun(result.loaded.config);
    case ServeMode::kRun:
      break;
  }
  StatusOr<HostPlace> place = FindHostPlace(result.loaded.config, environment);
  if (!place.ok()) {
    PrintErrors(place.status().message());
    return kExitConfig;
  }
  // Few arenas: idle memory stays near what is in use.
  mallopt(M_ARENA_MAX, 2);
  signal(SIGPIPE, SIG_IGN);
  BlockSignals(kDaemonSignals);  // before any thread exists
  if (!result.loaded.config.server.core_dumps) DisableCoreDumps();
  if (!place->leads()) return RunWorkerHost(result.loaded.config, *place);
  return RunDaemon(arguments, environment, std::move(result.loaded), std::move(*place),
                   std::move(files));
}

}  // namespace inferd::app
