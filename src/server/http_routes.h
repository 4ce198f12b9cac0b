#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/rpc_method.h"

namespace inferd {

// Everything the daemon answers over HTTP: a closed set.
enum class HttpRoute : uint8_t {
  kChatCompletions,
  kCompletions,
  kListModels,
  kGetModel,
  kTokenize,
  kDetokenize,
  kHealthz,
  kReadyz,  // also under /health
  kVersion,
  kMetrics,
  kUi,
};

// Where a request goes.
struct RouteMatch {
  HttpRoute route;
  RpcMethod method;          // the label; kHttpOther for what is not counted
  std::string model;         // of /v1/models/{id}, decoded
  std::string_view allowed;  // the method to use; differs from the request's: 405
};

// Exact paths only, nothing is normalized: what is not in the table does not exist.
// `side_port`: of its table, which has neither the API nor the page.
std::optional<RouteMatch> MatchRoute(std::string_view path, bool side_port);

}  // namespace inferd
