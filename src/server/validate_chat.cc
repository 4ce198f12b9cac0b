#include <limits>
#include <string>

#include "server/chat_messages.h"
#include "server/validate_common.h"

namespace inferd {
namespace {

constexpr int kMaxMetadataPairs = 16;
constexpr size_t kMaxMetadataKey = 64;
constexpr size_t kMaxMetadataValue = 512;

bool ChoosesATool(const v1::ToolChoice& choice) {
  return choice.choice_case() == v1::ToolChoice::kFunctionName ||
         choice.choice_case() == v1::ToolChoice::kAllowedTools ||
         (choice.choice_case() == v1::ToolChoice::kMode &&
          choice.mode() != v1::TOOL_CHOICE_MODE_UNSPECIFIED &&
          choice.mode() != v1::TOOL_CHOICE_MODE_NONE && choice.mode() != v1::TOOL_CHOICE_MODE_AUTO);
}

// What the proto has and this server does not do. Never ignored: an answer that
// silently lacks what was asked for is worse than none.
void RefuseUnsupported(const v1::ChatCompletionRequest& r, FieldChecker* check) {
  // clang-format off
  check->Unsupported(r.tools_size() > 0, "tools", "tools are not available on this server");
  check->Unsupported(ChoosesATool(r.tool_choice()), "tool_choice", "tools are not available on this server");
  check->Unsupported(r.has_reasoning_effort() && r.reasoning_effort() != v1::REASONING_EFFORT_UNSPECIFIED, "reasoning_effort", "is not available on this server; templates may take it in chat_template_kwargs");
  check->Unsupported(r.store(), "store", "this server keeps no state");
  check->Unsupported(r.has_prompt_logprobs(), "prompt_logprobs", "is not available on this server");
  check->Unsupported(r.allowed_token_ids_size() > 0, "allowed_token_ids", "is not available on this server");
  check->Unsupported(r.bad_words_size() > 0, "bad_words", "is not available on this server");
  check->Unsupported(r.has_chat_template(), "chat_template", "templates come from the server's configuration only");
  check->Unsupported(r.has_truncate_prompt_tokens(), "truncate_prompt_tokens", "is not available on this server");
  // clang-format on
}

void ReadLogprobs(const v1::ChatCompletionRequest& r, const ValidationContext& context,
                  FieldChecker* check, SamplingParams* sampling) {
  const int32_t limit = context.limits.max_top_logprobs;
  int32_t top = 0;
  check->Number("top_logprobs", r.has_top_logprobs(), r.top_logprobs(), 0, limit,
                "[0, " + std::to_string(limit) + "]", &top);
  check->Require(!r.has_top_logprobs() || r.logprobs(), "top_logprobs",
                 "needs logprobs to be true");
  if (r.logprobs()) sampling->logprobs = top;
}

void CheckMetadata(const v1::ChatCompletionRequest& r, FieldChecker* check) {
  check->Require(r.metadata().size() <= kMaxMetadataPairs, "metadata",
                 "must have at most 16 entries");
  if (!check->ok()) return;
  for (const auto& [key, value] : r.metadata()) {
    check->Require(key.size() <= kMaxMetadataKey && value.size() <= kMaxMetadataValue, "metadata",
                   "keys must have at most 64 bytes and values at most 512");
  }
}

}  // namespace

StatusOr<GenerationRequest> ValidateChat(const v1::ChatCompletionRequest& r,
                                         const ValidationContext& context) {
  FieldChecker check;
  GenerationRequest out;
  check.Merge(ValidateModelName(r.model(), context.model));
  check.Unsupported(context.model.chat_template == nullptr, "messages",
                    context.protocol == Protocol::kHttp
                        ? "the model has no chat template; use /v1/completions"
                        : "the model has no chat template; use CompletionService");
  if (r.has_stream() && r.stream() != context.streaming) {
    check.Merge(StreamMismatchError(context.streaming ? "ChatService.CreateChatCompletion"
                                                      : "ChatService.StreamChatCompletion"));
  }
  RefuseUnsupported(r, &check);
  ReadCommon(r, context, &check, &out);
  ReadLogprobs(r, context, &check, &out.sampling);
  CheckMetadata(r, &check);
  constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();
  int32_t max_new = 0;
  check.Number("max_tokens", r.has_max_tokens() && !r.has_max_completion_tokens(), r.max_tokens(),
               1, kMaxInt, "[1, 2147483647]", &max_new);
  check.Number("max_completion_tokens", r.has_max_completion_tokens(), r.max_completion_tokens(), 1,
               kMaxInt, "[1, 2147483647]", &max_new);
  if (max_new > 0) out.max_new_tokens = max_new;
  int64_t time_limit_ms = 0;
  check.Number("time_limit_ms", r.has_time_limit_ms(), r.time_limit_ms(), int64_t{1},
               context.limits.max_deadline_ms,
               "[1, " + std::to_string(context.limits.max_deadline_ms) + "]", &time_limit_ms);
  if (r.has_time_limit_ms()) out.time_limit_ms = time_limit_ms;

  ChatPrompt& chat = out.chat.emplace();
  chat.continue_final_message = r.continue_final_message();
  chat.add_generation_prompt =
      r.has_add_generation_prompt() ? r.add_generation_prompt() : !chat.continue_final_message;
  check.Require(!(chat.continue_final_message && chat.add_generation_prompt),
                "continue_final_message", "excludes add_generation_prompt");
  if (!check.ok()) return check.status();
  INFERD_ASSIGN_OR_RETURN(chat.messages, MessagesToJson(r, context));
  INFERD_ASSIGN_OR_RETURN(
      chat.kwargs, ParseTemplateKwargs(r.chat_template_kwargs(), context.limits.max_kwargs_bytes));
  if (chat.continue_final_message && chat.messages.back()["role"] != "assistant") {
    return InvalidMessage("messages", "continue_final_message needs a last assistant message");
  }
  return out;
}

}  // namespace inferd
