#include "server/http_routes.h"

#include <array>

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

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// %2F and the like; nullopt when malformed. The result is only compared to names.
std::optional<std::string> PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

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
