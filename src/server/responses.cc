#include "server/responses.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "server/utf8.h"

namespace inferd {
namespace {

v1::FinishReason FinishReasonOf(ChoiceEnd end) {
  switch (end) {
    case ChoiceEnd::kNone:
      return v1::FINISH_REASON_UNSPECIFIED;
    case ChoiceEnd::kStop:
      return v1::FINISH_REASON_STOP;
    case ChoiceEnd::kLength:
      return v1::FINISH_REASON_LENGTH;
    case ChoiceEnd::kTimeLimit:
      return v1::FINISH_REASON_TIME_LIMIT;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

// OpenAI's value for "unlikelier than can be told".
float WireLogprob(float logprob) {
  constexpr float kLowest = -9999.0F;
  return std::isfinite(logprob) && logprob > kLowest ? logprob : kLowest;
}

void FillLogprob(const Tokenizer& tokenizer, const TokenPiece& piece, v1::TokenLogprob* out) {
  const std::string_view bytes = tokenizer.TokenBytes(piece.token);
  out->set_token(LossyUtf8(bytes));
  out->set_bytes(std::string(bytes));
  out->set_logprob(WireLogprob(piece.logprob));
  out->set_token_id(static_cast<uint32_t>(piece.token));
  for (const TokenLogprob& other : piece.top) {
    v1::TopLogprob* top = out->add_top_logprobs();
    const std::string_view top_bytes = tokenizer.TokenBytes(other.token);
    top->set_token(LossyUtf8(top_bytes));
    top->set_bytes(std::string(top_bytes));
    top->set_logprob(WireLogprob(other.logprob));
    top->set_token_id(static_cast<uint32_t>(other.token));
  }
}

void FillUsage(const CallUsage& usage, v1::Usage* out) {
  out->set_prompt_tokens(usage.prompt_tokens);
  out->set_completion_tokens(usage.completion_tokens);
  out->set_total_tokens(usage.prompt_tokens + usage.completion_tokens);
  out->mutable_prompt_tokens_details()->set_cached_tokens(usage.cached_tokens);
}

// The fields that all four kinds of choice have.
template <typename Choice>
void FillEnding(const AnswerContext& context, const ChoiceDelta& delta, Choice* out) {
  out->set_index(delta.choice);
  out->set_finish_reason(FinishReasonOf(delta.end));
  if (delta.matched_stop) {
    out->mutable_matched_stop()->set_stop_string(*delta.matched_stop);
  } else if (delta.matched_token >= 0) {
    out->mutable_matched_stop()->set_token_id(static_cast<uint32_t>(delta.matched_token));
  }
  if (!context.token_ids) return;
  for (const TokenPiece& piece : delta.pieces) {
    out->add_token_ids(static_cast<uint32_t>(piece.token));
  }
}

template <typename Choice>
void FillChatLogprobs(const AnswerContext& context, const ChoiceDelta& delta, Choice* out) {
  if (!context.logprobs || delta.pieces.empty()) return;
  for (const TokenPiece& piece : delta.pieces) {
    FillLogprob(*context.model->model.tokenizer, piece, out->mutable_logprobs()->add_content());
  }
}

void FillCompletionChoice(const AnswerContext& context, ChoiceDelta&& delta, bool first,
                          v1::CompletionChoice* out) {
  FillEnding(context, delta, out);
  if (context.logprobs) {
    for (const TokenPiece& piece : delta.pieces) {
      FillLogprob(*context.model->model.tokenizer, piece, out->add_logprobs());
    }
  }
  out->set_text(first ? context.prompt.echo + delta.text : std::move(delta.text));
}

template <typename Message>
void FillHeader(const AnswerContext& context, Message* out) {
  out->set_id(context.id);
  out->set_created(context.created);
  out->set_model(context.model->model.id);
}

template <typename Message>
void FillPromptIds(const AnswerContext& context, Message* out) {
  for (const TokenId id : context.prompt.token_ids) {
    out->add_prompt_token_ids(static_cast<uint32_t>(id));
  }
}

}  // namespace

void FillChunk(const AnswerContext& context, std::vector<PendingOutput::Item>&& items, bool first,
               const CallUsage& usage, v1::ChatCompletionChunk* chunk) {
  FillHeader(context, chunk);
  if (first) FillPromptIds(context, chunk);
  for (PendingOutput::Item& item : items) {
    v1::ChunkChoice* choice = chunk->add_choices();
    FillEnding(context, item.delta, choice);
    FillChatLogprobs(context, item.delta, choice);
    v1::ChoiceDelta* delta = choice->mutable_delta();
    if (item.first) delta->set_role(v1::ROLE_ASSISTANT);
    if (item.first || !item.delta.text.empty()) delta->set_content(std::move(item.delta.text));
  }
  if (context.continuous_usage) FillUsage(usage, chunk->mutable_usage());
}

void FillChunk(const AnswerContext& context, std::vector<PendingOutput::Item>&& items,
               bool /*first*/, const CallUsage& usage, v1::CompletionChunk* chunk) {
  FillHeader(context, chunk);
  for (PendingOutput::Item& item : items) {
    FillCompletionChoice(context, std::move(item.delta), item.first, chunk->add_choices());
  }
  if (context.continuous_usage) FillUsage(usage, chunk->mutable_usage());
}

void FillUsageChunk(const AnswerContext& context, const CallUsage& usage,
                    v1::ChatCompletionChunk* chunk) {
  FillHeader(context, chunk);
  FillUsage(usage, chunk->mutable_usage());
}

void FillUsageChunk(const AnswerContext& context, const CallUsage& usage,
                    v1::CompletionChunk* chunk) {
  FillHeader(context, chunk);
  FillUsage(usage, chunk->mutable_usage());
}

void FillAnswer(const AnswerContext& context, std::vector<ChoiceDelta>&& choices,
                const CallUsage& usage, v1::ChatCompletion* answer) {
  FillHeader(context, answer);
  FillPromptIds(context, answer);
  for (ChoiceDelta& delta : choices) {
    v1::ChatChoice* choice = answer->add_choices();
    FillEnding(context, delta, choice);
    FillChatLogprobs(context, delta, choice);
    choice->mutable_message()->set_role(v1::ROLE_ASSISTANT);
    choice->mutable_message()->set_content(std::move(delta.text));
  }
  FillUsage(usage, answer->mutable_usage());
}

void FillAnswer(const AnswerContext& context, std::vector<ChoiceDelta>&& choices,
                const CallUsage& usage, v1::Completion* answer) {
  FillHeader(context, answer);
  for (ChoiceDelta& delta : choices) {
    FillCompletionChoice(context, std::move(delta), /*first=*/true, answer->add_choices());
  }
  FillUsage(usage, answer->mutable_usage());
}

}  // namespace inferd
