// Status and StatusOr: how every room reports what can go wrong. The codes are
// those of google.rpc.Code; an optional ErrorDetail says, in the API's terms,
// what was wrong. The server turns both into gRPC and HTTP errors by one table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/base/check.h"

namespace inferd {

enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "INVALID_ARGUMENT" and so on.
std::string_view StatusCodeName(StatusCode code);

// What a client can act on. `reason` is an upper-case constant of docs/api.md
// (for example "CONTEXT_LENGTH_EXCEEDED").
struct ErrorDetail {
  std::string reason;
  std::string field;            // offending request field; may be empty
  int64_t retry_after_ms = -1;  // -1: do not retry
  // Small facts, e.g. {"prompt_tokens", "4097"}.
  std::vector<std::pair<std::string, std::string>> metadata;
};

// A code, a message and perhaps a detail. A value; cheap to copy when OK.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(StatusCode code, std::string_view message) : code_(code), message_(message) {}
  // `code` must not be OK.
  Status(StatusCode code, std::string_view message, ErrorDetail detail);

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // Null when there is none.
  const ErrorDetail* detail() const { return detail_.get(); }
  // "INVALID_ARGUMENT: top_p: must be in (0, 1]".
  std::string ToString() const;
  // The same status with `prefix` and ": " before its message. OK stays OK.
  Status WithPrefix(std::string_view prefix) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::shared_ptr<const ErrorDetail> detail_;
};

inline Status OkStatus() { return Status(); }
Status InvalidArgumentError(std::string_view message);
Status NotFoundError(std::string_view message);
Status ResourceExhaustedError(std::string_view message);
Status FailedPreconditionError(std::string_view message);
Status UnavailableError(std::string_view message);
Status UnimplementedError(std::string_view message);
Status InternalError(std::string_view message);
// INVALID_ARGUMENT with a reason and the request field's name.
Status InvalidField(std::string_view field, std::string_view message,
                    std::string_view reason = "INVALID_PARAMETER");

// A value or the status that says why there is none.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    INFERD_CHECK(!status_.ok());
  }
  StatusOr(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  // The value; only when ok().
  T& value() & { return Checked(); }
  const T& value() const& {
    INFERD_CHECK(value_.has_value());
    return *value_;
  }
  T&& value() && { return std::move(Checked()); }
  T& operator*() & { return Checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(Checked()); }
  T* operator->() { return &Checked(); }
  const T* operator->() const { return &value(); }

 private:
  T& Checked() {
    INFERD_CHECK(value_.has_value());
    return *value_;
  }
  Status status_;
  std::optional<T> value_;
};

}  // namespace inferd

#define INFERD_RETURN_IF_ERROR(expression)                                                 \
  do {                                                                                     \
    if (::inferd::Status inferd_status_ = (expression); !inferd_status_.ok()) [[unlikely]] \
      return inferd_status_;                                                               \
  } while (false)

#define INFERD_CONCAT_INNER_(a, b) a##b
#define INFERD_CONCAT_(a, b) INFERD_CONCAT_INNER_(a, b)
// INFERD_ASSIGN_OR_RETURN(auto x, MakeX());
#define INFERD_ASSIGN_OR_RETURN(declaration, expression) \
  INFERD_ASSIGN_OR_RETURN_(INFERD_CONCAT_(inferd_statusor_, __LINE__), declaration, expression)
#define INFERD_ASSIGN_OR_RETURN_(tmp, declaration, expression) \
  auto tmp = (expression);                                     \
  if (!tmp.ok()) [[unlikely]]                                  \
    return std::move(tmp).status();                            \
  declaration = std::move(tmp).value()
