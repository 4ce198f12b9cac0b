#include "server/http_api.h"

#include <utility>

#include "nlohmann/json.hpp"
#include "server/browser_guard.h"
#include "server/errors.h"
#include "server/http_context.h"
#include "server/http_generation.h"
#include "server/http_info.h"
#include "server/http_query.h"
#include "server/ui_page.h"

namespace inferd {
namespace {

constexpr size_t kMaxSlowJobs = 64;
constexpr size_t kMaxMetricNames = 256;

HttpResponse Text(int status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(text);
  return response;
}

// What needs no key on the main port: probes, and the page, which asks for one itself.
bool IsOpen(HttpRoute route, const ServerOptions& options) {
  return route == HttpRoute::kHealthz || route == HttpRoute::kReadyz || route == HttpRoute::kUi ||
         (route == HttpRoute::kMetrics && !options.metrics_require_key);
}

}  // namespace

HttpApi::HttpApi(FrontEnd& front) : front_(front), slow_(/*num_threads=*/1, kMaxSlowJobs) {}

HttpHandler HttpApi::MainHandler() {
  return [this](HttpRequest&& request, const std::shared_ptr<HttpExchange>& exchange) {
    Handle(std::move(request), exchange, /*side_port=*/false);
  };
}

HttpHandler HttpApi::SideHandler() {
  return [this](HttpRequest&& request, const std::shared_ptr<HttpExchange>& exchange) {
    Handle(std::move(request), exchange, /*side_port=*/true);
  };
}

void HttpApi::Handle(HttpRequest&& request, const std::shared_ptr<HttpExchange>& exchange,
                     bool side_port) {
  std::optional<RouteMatch> match = MatchRoute(request.path, side_port);
  if (match && match->route == HttpRoute::kUi && !front_.options().ui) match.reset();
  CallerInfo caller = ReadCaller(match ? match->method : RpcMethod::kHttpOther, request, front_);
  HttpHeaders headers = AnswerHeaders(caller, front_);
  Status refused;
  if (front_.options().guard_browsers) {
    refused = CheckBrowser(request.Header("host"), request.Header("origin"),
                           front_.options().allowed_hosts);
  }
  // Whoever may not use anything is not told what there is.
  if (refused.ok() && !side_port && !(match && IsOpen(match->route, front_.options()))) {
    refused = caller.access;
  }
  if (!refused.ok()) {
    front_.metrics().RpcEnded(caller.method, refused);
    exchange->Respond(ErrorResponse(refused, std::move(headers)));
    return;
  }
  if (!match) {
    refused = RouteNotFoundError();
  } else if (request.method != match->allowed) {
    refused = MethodNotAllowedError(match->allowed);
    headers.emplace_back("allow", match->allowed);
  }
  if (!refused.ok()) {
    front_.metrics().RpcEnded(RpcMethod::kHttpOther, refused);
    exchange->Respond(ErrorResponse(refused, std::move(headers)));
    return;
  }
  Dispatch(*match, std::move(caller), std::move(request), exchange);
}

void HttpApi::Dispatch(const RouteMatch& match, CallerInfo&& caller, HttpRequest&& request,
                       const std::shared_ptr<HttpExchange>& exchange) {
  HttpCall call{front_, exchange, std::move(caller)};
  switch (match.route) {
    case HttpRoute::kChatCompletions:
      return StartHttpChat(std::move(call), std::move(request));
    case HttpRoute::kCompletions:
      return StartHttpCompletion(std::move(call), std::move(request));
    case HttpRoute::kListModels:
      return AnswerModels(std::move(call));
    case HttpRoute::kGetModel:
      return AnswerModel(std::move(call), match.model);
    case HttpRoute::kTokenize:
      return AnswerTokenize(std::move(call), std::move(request));
    case HttpRoute::kDetokenize:
      return AnswerDetokenize(std::move(call), std::move(request));
    case HttpRoute::kHealthz:
      return exchange->Respond(Text(200, "ok\n"));
    case HttpRoute::kReadyz:
      return exchange->Respond(Ready());
    case HttpRoute::kVersion:
      return exchange->Respond(Version());
    case HttpRoute::kMetrics:
      return Metrics(request.query, exchange);
    case HttpRoute::kUi:
      return exchange->Respond(Ui(call.caller, request.path));
  }
}

HttpResponse HttpApi::Ready() const {
  return front_.serving() ? Text(200, "ready\n") : Text(503, "not ready\n");
}

HttpResponse HttpApi::Version() const {
  const nlohmann::ordered_json version = {{"version", front_.options().version},
                                          {"git_commit", front_.options().git_commit}};
  HttpResponse response;
  response.body = version.dump();
  return response;
}

void HttpApi::Metrics(const std::string& query, const std::shared_ptr<HttpExchange>& exchange) {
  auto job = [this, exchange, names = QueryValues(query, "name[]", kMaxMetricNames)] {
    try {
      HttpResponse response = Text(200, front_.metrics().Render(names));
      response.content_type = "text/plain; version=0.0.4; charset=utf-8";
      exchange->Respond(std::move(response));
    } catch (...) {  // out of memory
      exchange->Respond(ErrorResponse(UnexpectedError(), {}));
    }
  };
  if (!slow_.TryRun(std::move(job))) {
    exchange->Respond(ErrorResponse(QueueFullError("the queue for metrics"), {}));
  }
}

HttpResponse HttpApi::Ui(const CallerInfo& caller, const std::string& path) const {
  auto answer = UiAnswer(path);
  if (!answer) return ErrorResponse(RouteNotFoundError(), AnswerHeaders(caller, front_));
  return std::move(*answer);
}

}  // namespace inferd
