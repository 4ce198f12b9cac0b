// Status to HTTP status and body.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inferd/openai/openai.h"
#include "nlohmann/json.hpp"

namespace inferd::openai {
namespace {

Status Make(StatusCode code, const std::string& reason, const std::string& field = "") {
  ErrorDetail detail;
  detail.reason = reason;
  detail.field = field;
  return {code, "why", detail};
}

TEST(ErrorsTest, Table) {
  struct Row {
    Status status;
    int http;
    std::string type;
    std::string code;
  };
  const std::vector<Row> rows = {
      {Make(StatusCode::kInvalidArgument, "INVALID_PARAMETER", "n"), 400, "invalid_request_error",
       "invalid_parameter"},
      {Make(StatusCode::kInvalidArgument, "CONTEXT_LENGTH_EXCEEDED"), 400, "invalid_request_error",
       "context_length_exceeded"},
      {Make(StatusCode::kUnauthenticated, "INVALID_API_KEY"), 401, "authentication_error",
       "invalid_api_key"},
      {Make(StatusCode::kPermissionDenied, "MODEL_FORBIDDEN"), 403, "permission_error",
       "model_forbidden"},
      {Make(StatusCode::kNotFound, "MODEL_NOT_FOUND"), 404, "invalid_request_error",
       "model_not_found"},
      {Make(StatusCode::kNotFound, "ROUTE_NOT_FOUND"), 404, "invalid_request_error",
       "route_not_found"},
      {Make(StatusCode::kUnimplemented, "METHOD_NOT_ALLOWED"), 405, "invalid_request_error",
       "method_not_allowed"},
      {Make(StatusCode::kResourceExhausted, "BODY_TOO_LARGE"), 413, "invalid_request_error",
       "body_too_large"},
      {Make(StatusCode::kInvalidArgument, "UNSUPPORTED_MEDIA_TYPE"), 415, "invalid_request_error",
       "unsupported_media_type"},
      {Make(StatusCode::kResourceExhausted, "QUEUE_FULL"), 429, "rate_limit_error", "queue_full"},
      {Make(StatusCode::kCancelled, "CANCELLED"), 499, "invalid_request_error", "cancelled"},
      {Make(StatusCode::kInternal, "INTERNAL"), 500, "server_error", "internal"},
      {UnimplementedError("x"), 501, "server_error", "unimplemented"},
      {Make(StatusCode::kUnavailable, "DRAINING"), 503, "server_error", "draining"},
      {Make(StatusCode::kDeadlineExceeded, "DEADLINE"), 504, "server_error", "deadline"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.status.ToString());
    EXPECT_EQ(HttpStatusOf(row.status), row.http);
    const nlohmann::json error = nlohmann::json::parse(ErrorJson(row.status))["error"];
    EXPECT_EQ(error.size(), 4U);
    EXPECT_EQ(error["message"], row.status.message());
    EXPECT_EQ(error["type"], row.type);
    EXPECT_EQ(error["code"], row.code);
    if (row.status.detail() == nullptr || row.status.detail()->field.empty()) {
      EXPECT_TRUE(error["param"].is_null());
    } else {
      EXPECT_EQ(error["param"], row.status.detail()->field);
    }
  }
}

TEST(ErrorsTest, LongMessagesAreCut) {
  const Status status(StatusCode::kInternal, std::string(1023, 'x') + "é" + std::string(9999, 'y'));
  const std::string text = ErrorJson(status);
  EXPECT_LT(text.size(), 1200U);
  EXPECT_TRUE(nlohmann::json::accept(text));
}

}  // namespace
}  // namespace inferd::openai
