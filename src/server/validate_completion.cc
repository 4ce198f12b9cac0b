#include <limits>
#include <string>
#include <utility>

#include "server/validate_common.h"

namespace inferd {
namespace {

constexpr int32_t kMaxLegacyLogprobs = 5;
constexpr int32_t kDefaultMaxTokens = 16;

Status ReadPrompt(const v1::CompletionRequest& r, const ValidationContext& context,
                  GenerationRequest* out) {
  const bool http = context.protocol == Protocol::kHttp;
  const std::string text_field = http ? "prompt" : "text";
  const std::string ids_field = http ? "prompt" : "token_ids";
  out->prompt_field = text_field;
  switch (r.prompt_case()) {
    case v1::CompletionRequest::kText:
      if (static_cast<int64_t>(r.text().size()) > context.limits.max_text_bytes) {
        return InvalidField(
            text_field,
            "must have at most " + std::to_string(context.limits.max_text_bytes) + " bytes");
      }
      out->text = r.text();
      return OkStatus();
    case v1::CompletionRequest::kTokenIds: {
      const auto& ids = r.token_ids().ids();
      if (ids.empty()) return InvalidField(ids_field, "must not be empty");
      if (ids.size() >= context.model.max_model_len) {
        return ContextLengthError(ids.size(), 0, context.model.max_model_len);
      }
      INFERD_ASSIGN_OR_RETURN(
          out->token_ids,
          ValidateTokenIds(http ? ids_field : ids_field + ".ids", ids.data(),
                           static_cast<size_t>(ids.size()), context.model.vocab_size));
      return OkStatus();
    }
    case v1::CompletionRequest::PROMPT_NOT_SET:
      break;
  }
  return InvalidField(text_field, "a prompt is required: text or token ids");
}

}  // namespace

Status ValidateModelName(const std::string& name, const ServedModel& model) {
  if (name.empty() || name == model.id) return OkStatus();
  for (const std::string& alias : model.aliases) {
    if (name == alias) return OkStatus();
  }
  return ModelNotFoundError(name, model);
}

StatusOr<std::vector<TokenId>> ValidateTokenIds(std::string_view field, const uint32_t* ids,
                                                size_t count, int32_t vocab_size) {
  std::vector<TokenId> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] >= static_cast<uint32_t>(vocab_size)) {
      return InvalidTokenId(std::string(field) + "[" + std::to_string(i) + "]", ids[i], vocab_size);
    }
    result.push_back(static_cast<TokenId>(ids[i]));
  }
  return result;
}

StatusOr<GenerationRequest> ValidateCompletion(const v1::CompletionRequest& r,
                                               const ValidationContext& context) {
  FieldChecker check;
  GenerationRequest out;
  check.Merge(ValidateModelName(r.model(), context.model));
  if (r.has_stream() && r.stream() != context.streaming) {
    check.Merge(StreamMismatchError(context.streaming ? "CompletionService.CreateCompletion"
                                                      : "CompletionService.StreamCompletion"));
  }
  check.Unsupported(r.has_suffix(), "suffix", "is not available on this server");
  ReadCommon(r, context, &check, &out);
  check.Number("logprobs", r.has_logprobs(), r.logprobs(), 0, kMaxLegacyLogprobs, "[0, 5]",
               &out.sampling.logprobs);
  out.echo = r.echo();
  check.Unsupported(r.echo() && r.has_logprobs(), "echo",
                    "logprobs of the prompt are not available on this server");
  int32_t max_new = 0;
  check.Number("max_tokens", r.has_max_tokens(), r.max_tokens(), 1,
               std::numeric_limits<int32_t>::max(), "[1, 2147483647]", &max_new);
  if (max_new > 0) out.max_new_tokens = max_new;
  out.default_max_new_tokens = kDefaultMaxTokens;
  if (!check.ok()) return check.status();
  INFERD_RETURN_IF_ERROR(ReadPrompt(r, context, &out));
  return out;
}

}  // namespace inferd
