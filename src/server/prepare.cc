#include "server/prepare.h"

#include <algorithm>
#include <span>
#include <utility>

#include "server/errors.h"

namespace inferd {
namespace {

std::string_view TrimmedRight(std::string_view text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

std::string_view TrimmedLeft(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

// Cuts the rendered prompt right after the last message's content, so that the
// model goes on with it. Templates may trim the content: then its trailing
// whitespace is left out.
Status CutAfterFinalMessage(const std::string& content, std::vector<TextSegment>* segments) {
  const std::string_view trimmed = TrimmedRight(TrimmedLeft(content));
  if (trimmed.empty()) return OkStatus();
  std::string whole;
  for (const TextSegment& segment : *segments) whole += segment.text;
  const size_t at = whole.rfind(trimmed);
  if (at == std::string::npos) {
    return InvalidField("continue_final_message",
                        "the chat template does not render the last message as it is",
                        "CHAT_TEMPLATE_ERROR");
  }
  const std::string_view wanted = TrimmedLeft(content);
  const bool kept = whole.compare(at, wanted.size(), wanted) == 0;
  size_t keep = at + (kept ? wanted.size() : trimmed.size());
  for (size_t i = 0; i < segments->size(); ++i) {
    TextSegment& segment = (*segments)[i];
    if (keep < segment.text.size()) {
      segment.text.resize(keep);
      segments->resize(i + (keep > 0 ? 1 : 0));
      return OkStatus();
    }
    keep -= segment.text.size();
  }
  return OkStatus();
}

StatusOr<std::vector<TextSegment>> RenderChat(const ChatPrompt& chat, const ServedModel& model,
                                              const Clock& clock) {
  ChatTemplate::Options options;
  options.add_generation_prompt = chat.add_generation_prompt;
  options.bos_token = model.bos_token;
  options.eos_token = model.eos_token;
  options.unix_seconds = clock.UnixUs() / 1'000'000;
  INFERD_ASSIGN_OR_RETURN(
      std::vector<TextSegment> segments,
      model.chat_template->Render(chat.messages, nlohmann::ordered_json(), chat.kwargs, options));
  if (chat.continue_final_message) {
    const std::string content = chat.messages.back()["content"].get<std::string>();
    INFERD_RETURN_IF_ERROR(CutAfterFinalMessage(content, &segments));
  }
  return segments;
}

Hash128 ScopeOf(const CacheScopeKey& scope, const std::optional<std::string>& salt) {
  if (scope.tenant.empty() && !salt) return {};
  // With the length first, so that no tenant and salt read like others.
  std::string text = std::to_string(scope.tenant.size()) + ":" + std::string(scope.tenant);
  if (salt) text += ":" + *salt;
  return SipHash128(scope.key, std::as_bytes(std::span(text.data(), text.size())));
}

// Not 0, which means nobody, but for whoever has no name.
TenantId TenantOf(const CacheScopeKey& scope) {
  return scope.tenant.empty() ? 0 : ScopeOf(scope, std::nullopt).lo | 1;
}

}  // namespace

StatusOr<RenderedTokens> RenderAndEncode(const GenerationRequest& request, const ServedModel& model,
                                         const Clock& clock) {
  RenderedTokens result;
  if (!request.chat && !request.text) {
    result.tokens = request.token_ids;
    return result;
  }
  const int64_t start_us = clock.NowUs();
  if (request.chat) {
    INFERD_ASSIGN_OR_RETURN(result.segments, RenderChat(*request.chat, model, clock));
    result.template_us = clock.NowUs() - start_us;
  } else {
    // The client's text: never trusted to contain special tokens. Who needs them
    // sends token ids.
    result.segments.push_back({*request.text, /*trusted=*/false});
  }
  const int64_t encode_start_us = clock.NowUs();
  // Templates write the special tokens they want themselves.
  INFERD_ASSIGN_OR_RETURN(
      result.tokens,
      model.tokenizer->Encode(result.segments, /*add_special_tokens=*/!request.chat.has_value()));
  result.tokenize_us = clock.NowUs() - encode_start_us;
  return result;
}

StatusOr<RequestSpec> BuildSpec(const GenerationRequest& request, std::vector<TokenId> tokens,
                                const ServedModel& model, const CacheScopeKey& scope,
                                EntropySource& entropy) {
  const auto num_prompt = static_cast<int64_t>(tokens.size());
  const int64_t room = model.max_model_len - num_prompt;
  if (num_prompt == 0) {
    return InvalidField(request.prompt_field, "the prompt has no tokens");
  }
  const int32_t asked = request.max_new_tokens.value_or(0);
  if (room < 1 || asked > room) {
    return ContextLengthError(num_prompt, asked, model.max_model_len);
  }
  RequestSpec spec;
  spec.prompt = std::move(tokens);
  spec.num_choices = request.num_choices;
  spec.sampling = request.sampling;
  spec.sampling.seed = request.seed ? *request.seed : entropy.Next64();
  spec.stop.max_new_tokens = static_cast<int32_t>(room);
  if (request.default_max_new_tokens > 0) {
    spec.stop.max_new_tokens = std::min(spec.stop.max_new_tokens, request.default_max_new_tokens);
  }
  if (asked > 0) spec.stop.max_new_tokens = asked;
  if (request.min_tokens > spec.stop.max_new_tokens) {
    return InvalidField("min_tokens", "must not exceed the tokens that may be generated, " +
                                          std::to_string(spec.stop.max_new_tokens));
  }
  std::vector<TokenId>& stops = spec.stop.stop_tokens;
  stops = request.stop_token_ids;
  if (!request.ignore_eos) {
    stops.insert(stops.end(), model.eos_tokens.begin(), model.eos_tokens.end());
  }
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  spec.sampling.min_tokens = request.min_tokens;
  if (request.min_tokens > 0) spec.sampling.banned_until_min = stops;
  spec.priority = request.priority;
  spec.tenant = TenantOf(scope);
  spec.cache_scope = ScopeOf(scope, request.cache_salt);
  return spec;
}

}  // namespace inferd
