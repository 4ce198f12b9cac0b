#include "inferd/base/status.h"

namespace inferd {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kCancelled:
      return "CANCELLED";
    case StatusCode::kUnknown:
      return "UNKNOWN";
    case StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case StatusCode::kNotFound:
      return "NOT_FOUND";
    case StatusCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    case StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    case StatusCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case StatusCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case StatusCode::kAborted:
      return "ABORTED";
    case StatusCode::kOutOfRange:
      return "OUT_OF_RANGE";
    case StatusCode::kUnimplemented:
      return "UNIMPLEMENTED";
    case StatusCode::kInternal:
      return "INTERNAL";
    case StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case StatusCode::kDataLoss:
      return "DATA_LOSS";
    case StatusCode::kUnauthenticated:
      return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

Status::Status(StatusCode code, std::string_view message, ErrorDetail detail)
    : code_(code),
      message_(message),
      detail_(std::make_shared<const ErrorDetail>(std::move(detail))) {
  INFERD_CHECK(code != StatusCode::kOk);
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  return std::string(StatusCodeName(code_)) + ": " + message_;
}

Status Status::WithPrefix(std::string_view prefix) const {
  Status out = *this;
  if (!ok()) out.message_ = std::string(prefix) + ": " + message_;
  return out;
}

Status InvalidArgumentError(std::string_view message) {
  return {StatusCode::kInvalidArgument, message};
}
Status NotFoundError(std::string_view message) { return {StatusCode::kNotFound, message}; }
Status ResourceExhaustedError(std::string_view message) {
  return {StatusCode::kResourceExhausted, message};
}
Status FailedPreconditionError(std::string_view message) {
  return {StatusCode::kFailedPrecondition, message};
}
Status UnavailableError(std::string_view message) { return {StatusCode::kUnavailable, message}; }
Status UnimplementedError(std::string_view message) {
  return {StatusCode::kUnimplemented, message};
}
Status InternalError(std::string_view message) { return {StatusCode::kInternal, message}; }

Status InvalidField(std::string_view field, std::string_view message, std::string_view reason) {
  ErrorDetail detail;
  detail.reason = reason;
  detail.field = field;
  return {StatusCode::kInvalidArgument, std::string(field) + ": " + std::string(message),
          std::move(detail)};
}

}  // namespace inferd
