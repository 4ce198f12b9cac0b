#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/trace/trace_context.h"
#include "server/authorizer.h"
#include "server/client_stream.h"
#include "server/errors.h"
#include "server/rpc_method.h"
#include "spdlog/logger.h"

namespace inferd {

// Who calls; every string comes from the client and is escaped when logged. Whoever
// makes one says what its credentials are worth: until then it may do nothing.
struct CallerInfo {
  RpcMethod method = RpcMethod::kGetLoad;
  Status access = UnauthenticatedError("nobody said who calls");
  Principal key;  // of an OK `access`; null: nobody has to say
  std::string request_id;
  TraceContext trace;
  std::string peer;
};

struct AccessRecord {
  const CallerInfo& caller;
  std::string_view model;
  StatusCode code = StatusCode::kOk;
  std::string_view reason = {};  // of the error; may be empty
  CallSummary summary = {};
  int64_t e2e_us = 0;
  std::string_view finish_reason = {};
};

// One line: key=value pairs, or one JSON object. No prompt, no answer, no
// control character.
std::string FormatAccessLine(const AccessRecord& record, bool json);

// `text` as it may stand between double quotes, in a log line or JSON.
std::string EscapeForLog(std::string_view text, size_t max_bytes = 256);

// A client's request id: 1 to 128 printable ASCII characters without spaces.
bool IsValidRequestId(std::string_view id);

}  // namespace inferd
