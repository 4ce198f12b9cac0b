// What the HTTP handlers read from a request and write to an answer's head: the
// counterpart of rpc_context.h.
#pragma once

#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/net/http.h"
#include "server/access_log.h"
#include "server/client_stream.h"
#include "server/front_end.h"

namespace inferd {

// Caller's rights, id (its own x-request-id when valid, else a random one), trace, peer.
CallerInfo ReadCaller(RpcMethod method, const HttpRequest& request, FrontEnd& front);

// The deadline of a request that came at `arrival_us`, as Clock::NowUs: what the header
// x-request-timeout-ms says, at most the server's maximum; the default without it. INVALID_ARGUMENT
// for what is no number.
StatusOr<int64_t> DeadlineUs(const HttpRequest& request, int64_t arrival_us,
                             const RequestLimits& limits);

// Whether the body may be read: application/json, not compressed.
Status CheckMediaType(const HttpRequest& request);

// The headers that every answer has.
HttpHeaders AnswerHeaders(const CallerInfo& caller, const FrontEnd& front);
// What is known of a request when it ends, as headers.
void AddSummary(const CallSummary& summary, HttpHeaders* headers);

// The answer that tells of an error: its status, its JSON, and whether and when a
// retry makes sense.
HttpResponse ErrorResponse(const Status& status, HttpHeaders headers);

// ASCII letters in lower case, the rest as it is.
std::string AsciiLower(std::string_view text);

}  // namespace inferd
