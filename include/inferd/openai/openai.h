// The OpenAI dialect of the API: JSON bodies to the same messages that gRPC brings,
// and answers back to JSON. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <map>
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
// ("messages[3].content"): malformed JSON, a duplicate key, a wrong type of
// field. A name that neither the message nor the tables of docs/api.md have is
// refused with UNSUPPORTED_PARAMETER; null is as good as absent. What the message can
// hold is taken over as it is; whether its values make sense is the validator's to say.
StatusOr<v1::ChatCompletionRequest> ParseChatRequest(std::string_view body,
                                                     const JsonLimits& limits);
// `prompt`: one string or one array of token ids, or either within an array.
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
// `usage_asked`: the stream ends with a chunk that has the usage, and those before it
// say null.
std::string ToJson(const v1::ChatCompletionChunk& chunk, bool usage_asked);
std::string ToJson(const v1::Completion& answer);
// Where in the text each choice's next token begins, in characters: one per stream.
struct TextOffsets {
  std::map<int32_t, int64_t> next;
};
std::string ToJson(const v1::CompletionChunk& chunk, bool usage_asked, TextOffsets* offsets);
std::string ToJson(const v1::ListModelsResponse& models);
std::string ToJson(const v1::Model& model);
std::string ToJson(const v1::TokenizeResponse& answer);
std::string ToJson(const v1::DetokenizeResponse& answer);

// {"error": {"message", "type", "param", "code"}} and the HTTP status that goes
// with it (docs/api.md has the table).
std::string ErrorJson(const Status& status);
int HttpStatusOf(const Status& status);

}  // namespace inferd::openai
