#include "server/errors.h"

#include <string>

namespace inferd {
namespace {

Status Make(StatusCode code, std::string_view message, std::string_view reason,
            int64_t retry_after_ms = -1) {
  ErrorDetail detail;
  detail.reason = reason;
  detail.retry_after_ms = retry_after_ms;
  return Status(code, message, std::move(detail));
}

}  // namespace

std::string Excerpt(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

Status UnsupportedParameter(std::string_view field, std::string_view why) {
  return InvalidField(field, why, "UNSUPPORTED_PARAMETER");
}

Status InvalidMessage(std::string_view field, std::string_view why) {
  return InvalidField(field, why, "INVALID_MESSAGE");
}

Status InvalidTokenId(std::string_view field, int64_t id, int32_t vocab_size) {
  return InvalidField(field,
                      "token id " + std::to_string(id) + " is not below the vocabulary size " +
                          std::to_string(vocab_size),
                      "INVALID_TOKEN_ID");
}

Status ModelNotFoundError(std::string_view asked, const ServedModel& model) {
  ErrorDetail detail;
  detail.reason = "MODEL_NOT_FOUND";
  detail.metadata.emplace_back("model", Excerpt(asked));
  detail.metadata.emplace_back("served_models", model.id);
  return Status(StatusCode::kNotFound, "model: not served; this server has " + model.id,
                std::move(detail));
}

Status ContextLengthError(int64_t prompt_tokens, int64_t max_new_tokens, int32_t max_model_len) {
  ErrorDetail detail;
  detail.reason = "CONTEXT_LENGTH_EXCEEDED";
  detail.metadata.emplace_back("prompt_tokens", std::to_string(prompt_tokens));
  detail.metadata.emplace_back("max_model_len", std::to_string(max_model_len));
  std::string message = "the prompt has " + std::to_string(prompt_tokens) + " tokens";
  if (max_new_tokens > 0) {
    detail.metadata.emplace_back("max_new_tokens", std::to_string(max_new_tokens));
    message += " and " + std::to_string(max_new_tokens) + " more are asked for";
  }
  message += "; the context is " + std::to_string(max_model_len) +
             " tokens, of which at least one is for the answer";
  return Status(StatusCode::kInvalidArgument, message, std::move(detail));
}

Status StreamMismatchError(std::string_view right_rpc) {
  return InvalidField("stream", "contradicts the rpc; call " + std::string(right_rpc),
                      "STREAM_MISMATCH");
}

Status UnauthenticatedError(std::string_view message) {
  return Make(StatusCode::kUnauthenticated, message, "UNAUTHENTICATED");
}
Status PermissionDeniedError(std::string_view message, std::string_view reason) {
  return Make(StatusCode::kPermissionDenied, message, reason);
}
Status RouteNotFoundError() {
  return Make(StatusCode::kNotFound, "no such path on this server", "ROUTE_NOT_FOUND");
}
Status MethodNotAllowedError(std::string_view allowed) {
  return Make(StatusCode::kUnimplemented, "this path takes " + std::string(allowed) + " only",
              "METHOD_NOT_ALLOWED");
}
Status UnsupportedMediaTypeError(std::string_view why) {
  return Make(StatusCode::kInvalidArgument, why, "UNSUPPORTED_MEDIA_TYPE");
}

Status NotReadyError() {
  return Make(StatusCode::kUnavailable, "the model is still loading", "NOT_READY", 2000);
}
Status DrainingError() {
  return Make(StatusCode::kUnavailable, "the server is shutting down", "DRAINING", 1000);
}
Status EngineDeadError() {
  return Make(StatusCode::kUnavailable, "the engine has failed", "ENGINE_DEAD");
}
Status RanksLostError() {
  return Make(StatusCode::kUnavailable, "a rank was lost while the answer was made", "RANKS_LOST",
              1000);
}
Status PoisonError() {
  return Make(StatusCode::kUnavailable,
              "the ranks were lost again and again while the answer was made", "POISON");
}
Status LoadFailedError() {
  return Make(StatusCode::kUnavailable, "the model could not be loaded", "NOT_READY");
}
Status QueueFullError(std::string_view what) {
  return Make(StatusCode::kResourceExhausted, std::string(what) + " is full", "QUEUE_FULL", 1000);
}
Status QueueTimeoutError() {
  return Make(StatusCode::kResourceExhausted, "waited too long for its turn", "QUEUE_TIMEOUT",
              1000);
}
Status SlowConsumerError() {
  return Make(StatusCode::kResourceExhausted, "the client reads slower than tokens are made",
              "SLOW_CONSUMER");
}
bool DropsPendingOutput(const Status& status) {
  const bool slow = status.detail() != nullptr && status.detail()->reason == "SLOW_CONSUMER";
  return slow || status.code() == StatusCode::kCancelled;
}

Status DeadlineError(std::string_view when) {
  return Make(StatusCode::kDeadlineExceeded, "the deadline passed " + std::string(when),
              "DEADLINE");
}
Status ClientCancelledError() {
  return Make(StatusCode::kCancelled, "cancelled by the client", "CANCELLED");
}
Status AbortedByAdminError() {
  return Make(StatusCode::kAborted, "ended by an operator", "ABORTED_BY_ADMIN");
}
Status CorruptedLogitsError() {
  return Make(StatusCode::kInternal, "the model produced non-finite logits", "CORRUPTED_LOGITS");
}
Status PreemptedError() {
  return Make(StatusCode::kResourceExhausted, "not enough KV cache to finish the request",
              "PREEMPTED", 1000);
}
Status UnexpectedError() { return Make(StatusCode::kInternal, "internal error", "INTERNAL"); }

}  // namespace inferd
