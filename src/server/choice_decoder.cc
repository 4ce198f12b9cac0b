#include "server/choice_decoder.h"

#include <utility>

namespace inferd {

ChoiceDecoder::ChoiceDecoder(int32_t choice, const Tokenizer& tokenizer, DecodeOptions options)
    : choice_(choice),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      detokenizer_(tokenizer, options_.skip_special_tokens, /*at_sequence_start=*/false) {
  if (!options_.stop_strings.empty()) {
    matcher_.emplace(options_.stop_strings, options_.include_stop_in_output);
  }
}

void ChoiceDecoder::Hold(TokenEvent&& event) {
  ++num_tokens_;
  HeldToken held;
  held.piece.token = event.token;
  if (options_.keep_pieces) {
    held.piece.logprob = event.logprob;
    held.piece.top = std::move(event.top);
  }
  held_.push_back(std::move(held));
}

void ChoiceDecoder::Push(TokenEvent&& event) {
  const TokenId token = event.token;
  const FinishReason finish = event.finish;
  if (token >= 0) {
    Hold(std::move(event));
    // The token that stops the answer is part of the text only when its kind of
    // token is to be seen.
    const bool hidden = finish == FinishReason::kStopToken && !options_.include_stop_in_output &&
                        !(tokenizer_.IsSpecial(token) && !options_.skip_special_tokens);
    if (!hidden) AddDecoded(detokenizer_.Push(token));
    if (finish == FinishReason::kStopToken && !finished()) matched_token_ = token;
  }
  if (finished()) return;
  if (finish == FinishReason::kStopToken) Finish(ChoiceEnd::kStop);
  if (finish == FinishReason::kLength) Finish(ChoiceEnd::kLength);
}

void ChoiceDecoder::Finish(ChoiceEnd end) {
  AddDecoded(detokenizer_.Flush());
  if (finished()) return;
  if (matcher_) Emit(matcher_->Flush());
  end_ = end;
  Release();
}

void ChoiceDecoder::AddDecoded(const std::string& text) {
  if (text.empty()) return;
  decoded_bytes_ += static_cast<int64_t>(text.size());
  for (auto it = held_.rbegin(); it != held_.rend() && it->text_end < 0; ++it) {
    it->text_end = decoded_bytes_;
  }
  if (!matcher_ || num_tokens_ <= options_.min_tokens) {
    Emit(text);
    return;
  }
  StopMatcher::Result result = matcher_->Push(text);
  Emit(result.text);
  if (result.matched) {
    matched_stop_ = options_.stop_strings[*result.matched];
    end_ = ChoiceEnd::kStop;
    Release();
  }
}

void ChoiceDecoder::Emit(const std::string& text) {
  if (text.empty()) return;
  emitted_bytes_ += static_cast<int64_t>(text.size());
  ready_.text += text;
  Release();
}

void ChoiceDecoder::Release() {
  while (!held_.empty()) {
    HeldToken& held = held_.front();
    const bool out = held.text_end >= 0 && held.text_end <= emitted_bytes_;
    if (!out && !finished()) return;
    // Tokens without text in the output, such as the stop token, go with the end.
    ChoiceDelta& delta = out ? ready_ : tail_;
    ++delta.num_tokens;
    if (options_.keep_pieces) delta.pieces.push_back(std::move(held.piece));
    held_.pop_front();
  }
}

std::optional<ChoiceDelta> ChoiceDecoder::Take() {
  if (!ready_.text.empty() &&
      (first_ || finished() || ready_.num_tokens >= options_.tokens_per_delta)) {
    first_ = false;
    ready_.choice = choice_;
    return std::exchange(ready_, ChoiceDelta{});
  }
  if (!finished() || end_taken_) return std::nullopt;
  end_taken_ = true;
  tail_.choice = choice_;
  tail_.end = end_;
  tail_.matched_stop = matched_stop_;
  tail_.matched_token = matched_token_;
  return std::exchange(tail_, ChoiceDelta{});
}

}  // namespace inferd
