#pragma once

#include <cstdint>
#include <string>

#include "server/rpc_method.h"

namespace inferd {

enum class LiveState : uint8_t { kPreparing, kWaiting, kRunning };

// An accepted generation request as operators see it: no text of it.
struct LiveRequest {
  std::string request_id;
  RpcMethod method = RpcMethod::kUnknownRpc;
  LiveState state = LiveState::kPreparing;
  int32_t prompt_tokens = 0;  // 0: not known yet
  int32_t completion_tokens = 0;
  int64_t arrival_us = 0;  // Clock::NowUs
  std::string tenant;      // empty: nobody has to say who they are
  std::string key_id;
  std::string trace_id;
};

}  // namespace inferd
