#include "server/http_context.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "inferd/net/listener.h"
#include "inferd/openai/openai.h"
#include "server/errors.h"

namespace inferd {
namespace {

constexpr std::string_view kTimeoutHeader = "x-request-timeout-ms";

void AddMillis(const char* name, int64_t us, HttpHeaders* headers) {
  if (us < 0) return;
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.3f", static_cast<double>(us) / 1000.0);
  headers->emplace_back(name, buffer.data());
}

}  // namespace

std::string AsciiLower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return out;
}

CallerInfo ReadCaller(RpcMethod method, const HttpRequest& request, FrontEnd& front) {
  CallerInfo caller;
  caller.method = method;
  Credentials credentials;
  credentials.authorization = request.Header("authorization");
  credentials.x_api_key = request.Header("x-api-key");
  const std::string certificate =
      request.subject.empty() ? std::string() : CertificateId(request.subject);
  credentials.certificate = certificate;
  StatusOr<Principal> principal = front.authorizer().Authenticate(credentials);
  caller.access = principal.status();
  if (principal.ok()) caller.key = *std::move(principal);
  const std::string_view id = request.Header("x-request-id");
  caller.request_id = IsValidRequestId(id) ? std::string(id) : front.RandomId();
  caller.trace = front.ReadTrace(request.Header("traceparent"));
  caller.peer = request.peer;
  return caller;
}

StatusOr<int64_t> DeadlineUs(const HttpRequest& request, int64_t arrival_us,
                             const RequestLimits& limits) {
  int64_t timeout_ms = limits.default_deadline_ms;
  if (const std::string_view text = request.Header(kTimeoutHeader); !text.empty()) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, timeout_ms);
    if (parsed.ec != std::errc() || parsed.ptr != end || timeout_ms < 0) {
      return InvalidField(kTimeoutHeader, "must be a number of milliseconds");
    }
    timeout_ms = std::min(timeout_ms, limits.max_deadline_ms);
  }
  return arrival_us + timeout_ms * 1000;
}

Status CheckMediaType(const HttpRequest& request) {
  const std::string type = AsciiLower(request.Header("content-type"));
  const std::string_view essence = std::string_view(type).substr(0, type.find_first_of("; \t"));
  if (essence != "application/json") {
    return UnsupportedMediaTypeError("the content type must be application/json");
  }
  const std::string encoding = AsciiLower(request.Header("content-encoding"));
  if (!encoding.empty() && encoding != "identity") {
    return UnsupportedMediaTypeError("compressed bodies are not accepted");
  }
  return OkStatus();
}

HttpHeaders AnswerHeaders(const CallerInfo& caller, const FrontEnd& front) {
  return {{"x-request-id", caller.request_id}, {"x-server-instance", front.instance_id()}};
}

void AddSummary(const CallSummary& summary, HttpHeaders* headers) {
  AddMillis("x-queue-time-ms", summary.queue_us, headers);
  AddMillis("x-ttft-ms", summary.ttft_us, headers);
}

HttpResponse ErrorResponse(const Status& status, HttpHeaders headers) {
  HttpResponse response;
  response.status = openai::HttpStatusOf(status);
  response.headers = std::move(headers);
  response.body = openai::ErrorJson(status);
  const int64_t retry_ms = status.detail() != nullptr ? status.detail()->retry_after_ms : -1;
  if (retry_ms >= 0) {
    response.headers.emplace_back("retry-after",
                                  std::to_string(std::max<int64_t>((retry_ms + 999) / 1000, 1)));
    response.headers.emplace_back("retry-after-ms", std::to_string(retry_ms));
  }
  // OpenAI's clients retry these by themselves unless told whether it makes sense.
  if (response.status == 409 || response.status == 429 || response.status >= 500) {
    response.headers.emplace_back("x-should-retry", retry_ms >= 0 ? "true" : "false");
  }
  if (response.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

}  // namespace inferd
