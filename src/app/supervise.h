#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "app/drain.h"
#include "app/logging.h"
#include "inferd/engine/engine.h"
#include "inferd/server/server.h"

namespace inferd::app {

// What a serving daemon does on signals that do not end it. Called by Supervise.
struct SignalActions {
  std::function<void()> reload;     // SIGHUP
  std::function<void()> log_state;  // SIGUSR1
};

// Waits until a signal or the engine's death ends the service, and shuts the server
// down: drained after SIGTERM, at once after SIGINT, with a short wait when the engine
// died. Returns what the process should exit with.
int Supervise(Server& server, const Engine& engine, SignalQueue& signals, int64_t drain_delay_ms,
              int64_t drain_timeout_ms, const SignalActions& actions, spdlog::logger& logger);

// Runs `tear_down`. If it has not returned after `grace`, logs one line, writes what
// is left in the log, and exits the process with kExitEngineFailure: a thread that
// hangs in a step cannot be ended alone.
void TearDownWithin(std::chrono::milliseconds grace, Logging& logging,
                    const std::function<void()>& tear_down);

}  // namespace inferd::app
