#include <algorithm>
#include <array>
#include <string>

#include "inferd/openai/openai.h"
#include "openai/json_writer.h"

namespace inferd::openai {
namespace {

constexpr size_t kMaxMessageBytes = 1024;

struct ReasonRow {
  std::string_view reason;
  int http;
};

// What HTTP tells apart and google.rpc.Code does not.
constexpr std::array<ReasonRow, 4> kReasons = {{
    {"ROUTE_NOT_FOUND", 404},
    {"METHOD_NOT_ALLOWED", 405},
    {"BODY_TOO_LARGE", 413},
    {"UNSUPPORTED_MEDIA_TYPE", 415},
}};

std::string_view TypeOf(int http) {
  switch (http) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return http < 500 ? "invalid_request_error" : "server_error";
  }
}

}  // namespace

int HttpStatusOf(const Status& status) {
  if (const ErrorDetail* detail = status.detail(); detail != nullptr) {
    for (const ReasonRow& row : kReasons) {
      if (row.reason == detail->reason) return row.http;
    }
  }
  switch (status.code()) {
    case StatusCode::kOk:
      return 200;
    case StatusCode::kInvalidArgument:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kOutOfRange:
      return 400;
    case StatusCode::kUnauthenticated:
      return 401;
    case StatusCode::kPermissionDenied:
      return 403;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kAborted:
    case StatusCode::kAlreadyExists:
      return 409;
    case StatusCode::kResourceExhausted:
      return 429;
    case StatusCode::kCancelled:
      return 499;
    case StatusCode::kUnimplemented:
      return 501;
    case StatusCode::kUnavailable:
      return 503;
    case StatusCode::kDeadlineExceeded:
      return 504;
    case StatusCode::kUnknown:
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
      break;
  }
  return 500;
}

std::string ErrorJson(const Status& status) {
  const ErrorDetail* detail = status.detail();
  std::string code(detail != nullptr && !detail->reason.empty() ? std::string_view(detail->reason)
                                                                : StatusCodeName(status.code()));
  for (char& c : code) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  JsonWriter out;
  out.BeginObject().Name("error").BeginObject();
  out.Name("message").String(std::string_view(status.message()).substr(0, kMaxMessageBytes));
  out.Name("type").String(TypeOf(HttpStatusOf(status)));
  out.Name("param");
  if (detail != nullptr && !detail->field.empty()) {
    out.String(detail->field);
  } else {
    out.Null();
  }
  out.Name("code").String(code);
  return out.EndObject().EndObject().Take();
}

}  // namespace inferd::openai
