#include "server/tokenizer_work.h"

#include <string>
#include <vector>

#include "server/prepare.h"

namespace inferd {

Status TokenizeText(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                    const v1::TokenizeRequest& request, v1::TokenizeResponse* response) {
  INFERD_RETURN_IF_ERROR(ValidateModelName(request.model(), model));
  if (static_cast<int64_t>(request.text().size()) > limits.max_text_bytes) {
    return InvalidField(protocol == Protocol::kHttp ? "prompt" : "text",
                        "must have at most " + std::to_string(limits.max_text_bytes) + " bytes");
  }
  const std::vector<TextSegment> segments = {{request.text(), /*trusted=*/false}};
  const bool add = !request.has_add_special_tokens() || request.add_special_tokens();
  INFERD_ASSIGN_OR_RETURN(std::vector<TokenId> ids, model.tokenizer->Encode(segments, add));
  for (const TokenId id : ids) {
    response->add_token_ids(static_cast<uint32_t>(id));
    if (request.return_token_strings()) {
      response->add_token_bytes(std::string(model.tokenizer->TokenBytes(id)));
    }
  }
  response->set_count(static_cast<int32_t>(ids.size()));
  response->set_max_model_len(model.max_model_len);
  return OkStatus();
}

Status DetokenizeIds(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                     const v1::DetokenizeRequest& request, v1::DetokenizeResponse* response) {
  INFERD_RETURN_IF_ERROR(ValidateModelName(request.model(), model));
  const char* const field = protocol == Protocol::kHttp ? "tokens" : "token_ids";
  INFERD_ASSIGN_OR_RETURN(
      std::vector<TokenId> ids,
      ValidateTokenIds(field, request.token_ids().data(),
                       static_cast<size_t>(request.token_ids_size()), model.vocab_size));
  // A few bytes of ids may stand for a hundred times the text.
  int64_t bytes = 0;
  for (const TokenId id : ids) {
    bytes += static_cast<int64_t>(model.tokenizer->TokenBytes(id).size());
  }
  if (bytes > limits.max_text_bytes) {
    return InvalidField(field, "stand for " + std::to_string(bytes) + " bytes of text, at most " +
                                   std::to_string(limits.max_text_bytes) + " are allowed");
  }
  const bool skip = !request.has_skip_special_tokens() || request.skip_special_tokens();
  response->set_text(model.tokenizer->Decode(ids, skip));
  return OkStatus();
}

Status RenderPrompt(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                    const Clock& clock, const v1::ChatCompletionRequest& request,
                    v1::RenderChatResponse* response) {
  // Either rpc's request may be rendered, so `stream` is whatever it says.
  const ValidationContext context{model, limits, request.stream() || request.has_stream_options(),
                                  protocol};
  INFERD_ASSIGN_OR_RETURN(GenerationRequest chat, ValidateChat(request, context));
  INFERD_ASSIGN_OR_RETURN(RenderedTokens rendered, RenderAndEncode(chat, model, clock));
  for (const TextSegment& segment : rendered.segments) *response->mutable_prompt() += segment.text;
  for (const TokenId id : rendered.tokens) response->add_token_ids(static_cast<uint32_t>(id));
  return OkStatus();
}

}  // namespace inferd
