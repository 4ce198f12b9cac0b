#include "server/http_routes.h"

#include <array>

#include "server/http_query.h"

namespace inferd {
namespace {

struct Row {
  std::string_view path;
  std::string_view allowed;
  HttpRoute route;
  RpcMethod method;
  bool on_side_port;
};

constexpr std::array<Row, 10> kRows = {{
    {"/v1/chat/completions", "POST", HttpRoute::kChatCompletions, RpcMethod::kHttpChatCompletions,
     false},
    {"/v1/completions", "POST", HttpRoute::kCompletions, RpcMethod::kHttpCompletions, false},
    {"/v1/models", "GET", HttpRoute::kListModels, RpcMethod::kHttpListModels, false},
    {"/tokenize", "POST", HttpRoute::kTokenize, RpcMethod::kHttpTokenize, false},
    {"/detokenize", "POST", HttpRoute::kDetokenize, RpcMethod::kHttpDetokenize, false},
    {"/healthz", "GET", HttpRoute::kHealthz, RpcMethod::kHttpOther, true},
    {"/readyz", "GET", HttpRoute::kReadyz, RpcMethod::kHttpOther, true},
    {"/health", "GET", HttpRoute::kReadyz, RpcMethod::kHttpOther, true},
    {"/version", "GET", HttpRoute::kVersion, RpcMethod::kHttpOther, true},
    {"/metrics", "GET", HttpRoute::kMetrics, RpcMethod::kHttpOther, true},
}};

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr size_t kMaxModelBytes = 1024;  // as written

}  // namespace

std::optional<RouteMatch> MatchRoute(std::string_view path, bool side_port) {
  for (const Row& row : kRows) {
    if (row.path != path || (side_port && !row.on_side_port)) continue;
    return RouteMatch{row.route, row.method, {}, row.allowed};
  }
  if (side_port) return std::nullopt;
  if (path.substr(0, kModelPrefix.size()) == kModelPrefix && path.size() <= kMaxModelBytes) {
    auto model = PercentDecoded(path.substr(kModelPrefix.size()));
    if (!model || model->empty()) return std::nullopt;
    return RouteMatch{HttpRoute::kGetModel, RpcMethod::kHttpGetModel, std::move(*model), "GET"};
  }
  if (path == "/ui" || path.substr(0, 4) == "/ui/") {
    return RouteMatch{HttpRoute::kUi, RpcMethod::kHttpOther, {}, "GET"};
  }
  return std::nullopt;
}

}  // namespace inferd
