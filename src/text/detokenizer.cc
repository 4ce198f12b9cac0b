#include "inferd/text/detokenizer.h"

#include "inferd/text/utf8.h"

namespace inferd {

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens,
                                               bool at_sequence_start)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      first_token_(at_sequence_start),
      strip_space_(at_sequence_start && tokenizer.StripsLeadingSpace()) {}

std::string IncrementalDetokenizer::Push(TokenId token) {
  if (skip_special_tokens_ && tokenizer_.IsSpecial(token)) return {};
  if (tokenizer_.TokenBytes(token).empty()) return {};
  if (first_token_) {
    first_token_ = false;
    pending_ += tokenizer_.LeadingTokenBytes(token);
  } else {
    pending_ += tokenizer_.TokenBytes(token);
  }
  if (strip_space_ && !pending_.empty()) {
    strip_space_ = false;
    if (pending_.front() == ' ') pending_.erase(0, 1);
  }
  std::string text;
  const size_t incomplete = text::AppendLossyUtf8(pending_, text);
  pending_.erase(0, pending_.size() - incomplete);
  return text;
}

std::string IncrementalDetokenizer::Flush() {
  std::string text;
  if (!pending_.empty()) text = text::kReplacementCharacter;
  pending_.clear();
  return text;
}

}  // namespace inferd
