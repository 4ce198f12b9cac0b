// The OpenAI dialect of the API: JSON bodies to the same messages that gRPC brings,
// and answers back to JSON. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/v1/chat.pb.h"
#include "inferd/v1/services.pb.h"

namespace inferd::openai {

// Bounds of a body before anything of it is kept.
struct JsonLimits {
  int max_depth = 64;
  int64_t max_nodes = 1'000'000;
};

// A body as a message. INVALID_ARGUMENT with the field's path as OpenAI writes it
// ("messages[3].content"): malformed JSON, a duplicate key, a wrong type, an
// unknown field. What the message can hold is taken over as it is; whether its
// values make sense is the validator's to say.
StatusOr<v1::ChatCompletionRequest> ParseChatRequest(std::string_view body,
                                                     const JsonLimits& limits);
// `prompt`: one string or one array of token ids.
StatusOr<v1::CompletionRequest> ParseCompletionRequest(std::string_view body,
                                                       const JsonLimits& limits);
// {"model", "prompt", "add_special_tokens"} or {"model", "messages"}, as vLLM's.
struct TokenizeBody {
  bool is_chat = false;
  v1::TokenizeRequest text;
  v1::ChatCompletionRequest chat;
};
StatusOr<TokenizeBody> ParseTokenizeRequest(std::string_view body, const JsonLimits& limits);
StatusOr<v1::DetokenizeRequest> ParseDetokenizeRequest(std::string_view body,
                                                       const JsonLimits& limits);

// Answers, one JSON object each, without a newline.
std::string ToJson(const v1::ChatCompletion& answer);
std::string ToJson(const v1::ChatCompletionChunk& chunk);
std::string ToJson(const v1::Completion& answer);
std::string ToJson(const v1::CompletionChunk& chunk);
std::string ToJson(const v1::ListModelsResponse& models);
std::string ToJson(const v1::Model& model);
std::string ToJson(const v1::TokenizeResponse& answer);
std::string ToJson(const v1::DetokenizeResponse& answer);

// {"error": {"message", "type", "param", "code"}} and the HTTP status that goes
// with it (docs/api.md has the table).
std::string ErrorJson(const Status& status);
int HttpStatusOf(const Status& status);

}  // namespace inferd::openai
