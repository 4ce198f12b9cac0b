#include "inferd/openai/openai.h"
#include "openai/check_json.h"
#include "openai/fields.h"
#include "openai/json_cursor.h"

namespace inferd::openai {
namespace {

template <typename Request>
StatusOr<Request> Parse(std::string_view body, const JsonLimits& limits) {
  INFERD_RETURN_IF_ERROR(CheckJson(body, limits));
  JsonCursor in(body);
  Request request;
  INFERD_RETURN_IF_ERROR(ReadObject(in, /*path=*/"", &request));
  return request;
}

// Whether the body's object, checked before, has the name with a value.
bool Has(std::string_view body, std::string_view wanted) {
  JsonCursor in(body);
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    if (name == wanted && in.Peek() != JsonKind::kNull) return true;
    in.TakeRaw();
  }
  return false;
}

}  // namespace

StatusOr<v1::ChatCompletionRequest> ParseChatRequest(std::string_view body,
                                                     const JsonLimits& limits) {
  return Parse<v1::ChatCompletionRequest>(body, limits);
}

StatusOr<v1::CompletionRequest> ParseCompletionRequest(std::string_view body,
                                                       const JsonLimits& limits) {
  return Parse<v1::CompletionRequest>(body, limits);
}

StatusOr<TokenizeBody> ParseTokenizeRequest(std::string_view body, const JsonLimits& limits) {
  INFERD_RETURN_IF_ERROR(CheckJson(body, limits));
  TokenizeBody result;
  result.is_chat = Has(body, "messages");
  JsonCursor in(body);
  Message* request = &result.text;
  if (result.is_chat) request = &result.chat;
  INFERD_RETURN_IF_ERROR(ReadObject(in, /*path=*/"", request));
  if (!result.is_chat && !Has(body, "prompt")) {
    return InvalidField("prompt", "prompt or messages are required");
  }
  return result;
}

StatusOr<v1::DetokenizeRequest> ParseDetokenizeRequest(std::string_view body,
                                                       const JsonLimits& limits) {
  return Parse<v1::DetokenizeRequest>(body, limits);
}

}  // namespace inferd::openai
