#pragma once

#include "inferd/config/server_config.h"
#include "inferd/engine/engine.h"
#include "inferd/server/server.h"

namespace inferd::app {

// The front end's part of the configuration.
ServerOptions MakeServerOptions(const ServerConfig& config);

// How much may wait.
QueueLimits MakeQueueLimits(const ServerConfig& config);

// The engine's part; `num_blocks` (padding included) and `max_model_len` come
// from the model.
EngineOptions MakeEngineOptions(const ServerConfig& config, int32_t num_blocks,
                                int32_t max_model_len);

}  // namespace inferd::app
