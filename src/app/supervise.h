#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "app/drain.h"
#include "app/logging.h"
#include "inferd/config/server_config.h"
#include "inferd/engine/engine.h"
#include "inferd/server/server.h"

namespace inferd::app {

// What a log that nobody reads may take of the end of the process.
inline constexpr auto kLastLinesTimeout = std::chrono::milliseconds(1'000);

// What a serving daemon does on signals, and on the way to its end. Called by Supervise.
struct SignalActions {
  std::function<void()> reload;                      // SIGHUP
  std::function<void()> log_state;                   // SIGUSR1
  std::function<void()> stopping;                    // the end begins
  std::function<ServerConfig::Drain()> drain_times;  // as configured by then
};

// Waits until a signal or the engine's death ends the service, and shuts the server
// down: drained after SIGTERM, at once after SIGINT, with a short wait when the engine
// died. Returns what the process should exit with.
int Supervise(Server& server, const Engine& engine, SignalQueue& signals,
              const SignalActions& actions, spdlog::logger& logger);

// Runs `tear_down`. If it has not returned after `grace`, logs one line, writes what
// is left in the log, and exits the process with kExitEngineFailure: a thread that
// hangs in a step cannot be ended alone.
void TearDownWithin(std::chrono::milliseconds grace, Logging& logging,
                    const std::function<void()>& tear_down);

}  // namespace inferd::app
