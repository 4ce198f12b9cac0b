// The daemon's life once its configuration is known: ports, model, engine, drain.
#pragma once

#include <signal.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "app/host_place.h"
#include "inferd/auth/key_ring.h"
#include "inferd/config/config_loader.h"
#include "inferd/net/tls.h"

namespace inferd::app {

// What the configuration names and the daemon holds from its start on.
struct ServeFiles {
  std::shared_ptr<const KeyRing> keys;    // null: none are asked for
  std::shared_ptr<TlsServerContext> tls;  // null: plain
  std::string trace_authorities;          // PEM; empty: the system's
};

// To be blocked before any thread exists.
inline constexpr std::initializer_list<int> kDaemonSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

// Until a signal or the engine ends it; returns the exit code. The first two outlive it.
int RunDaemon(const ServeArguments& arguments, const std::vector<std::string>& environment,
              LoadedConfig loaded, HostPlace place, ServeFiles files);

}  // namespace inferd::app
