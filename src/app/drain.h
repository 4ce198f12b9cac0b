#pragma once

#include <cstdint>

#include "inferd/base/bounded_queue.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

using SignalQueue = BoundedQueue<int>;

// Stops the server as a first SIGTERM asks: not ready, `delay_ms` more of
// service, then up to `timeout_ms` for what runs. Another SIGTERM or SIGINT in
// `signals` cuts either short. Returns once the ports are closed.
void DrainServer(Server& server, SignalQueue& signals, int64_t delay_ms, int64_t timeout_ms,
                 spdlog::logger& logger);

}  // namespace inferd::app
