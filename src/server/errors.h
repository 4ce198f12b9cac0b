// The refusals the front end itself can give, one function each, with the
// reasons that docs/api.md lists. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/server/server.h"

namespace inferd {

// A valid field of the API that this server or model cannot honour.
Status UnsupportedParameter(std::string_view field, std::string_view why);
Status InvalidMessage(std::string_view field, std::string_view why);
Status InvalidTokenId(std::string_view field, int64_t id, int32_t vocab_size);
Status ModelNotFoundError(std::string_view asked, const ServedModel& model);
// `max_new_tokens` is what the client asked for, 0 when it did not say.
Status ContextLengthError(int64_t prompt_tokens, int64_t max_new_tokens, int32_t max_model_len);
Status StreamMismatchError(std::string_view right_rpc);

// Messages that tell nobody how near a guess was.
Status UnauthenticatedError(std::string_view message);
Status PermissionDeniedError(std::string_view message, std::string_view reason);

// Over HTTP alone.
Status RouteNotFoundError();
Status MethodNotAllowedError(std::string_view allowed);
Status UnsupportedMediaTypeError(std::string_view why);

Status NotReadyError();
Status DrainingError();
Status EngineDeadError();
Status RanksLostError();  // the answer is not resumed
Status PoisonError();     // the ranks die of the request
Status LoadFailedError();
// `what` is full, e.g. "the tokenizer queue".
Status QueueFullError(std::string_view what);
Status QueueTimeoutError();
Status SlowConsumerError();
// Whether a call that ended so has nothing more to send: its client is gone, or did not
// take what there was. After any other end what was made before it is valid.
bool DropsPendingOutput(const Status& status);
Status DeadlineError(std::string_view when);
Status ClientCancelledError();
Status AbortedByAdminError();
Status CorruptedLogitsError();
Status PreemptedError();
// INTERNAL without any detail of what was thrown.
Status UnexpectedError();

// At most `max_bytes` of client text, cut at a UTF-8 boundary: errors never echo
// more than 64 bytes of input.
std::string Excerpt(std::string_view text, size_t max_bytes = 64);

}  // namespace inferd
