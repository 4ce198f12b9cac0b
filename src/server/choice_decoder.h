#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "inferd/engine/engine.h"
#include "inferd/text/detokenizer.h"
#include "inferd/text/stop_matcher.h"
#include "inferd/text/tokenizer.h"
#include "server/choice_delta.h"

namespace inferd {

struct DecodeOptions {
  std::vector<std::string> stop_strings;
  bool include_stop_in_output = false;
  bool skip_special_tokens = true;
  bool keep_pieces = false;  // logprobs or token ids were asked for
  int32_t tokens_per_delta = 1;
  int32_t min_tokens = 0;  // no stop string is looked for in the text of that many tokens
};

// Tokens of one choice in, deltas out: detokenizes, looks for stop strings, and
// keeps each token until the text it made is out. One thread at a time.
class ChoiceDecoder {
 public:
  // `tokenizer` must outlive this.
  ChoiceDecoder(int32_t choice, const Tokenizer& tokenizer, DecodeOptions options);

  // Takes the token of `event` (if any) and its finish reason. Afterwards
  // `finished()` may be set, also by a stop string. Not once finished.
  void Push(TokenEvent&& event);
  // Ends the choice without a token.
  void Finish(ChoiceEnd end);

  // What is ready to go out, to be called until there is nothing: text, then the
  // end with an empty text. Nothing while less than a whole delta is there.
  std::optional<ChoiceDelta> Take();

  bool finished() const { return end_ != ChoiceEnd::kNone; }
  bool stopped_by_string() const { return matched_stop_.has_value(); }
  int32_t num_tokens() const { return num_tokens_; }

 private:
  struct HeldToken {
    TokenPiece piece;
    int64_t text_end = -1;  // where its text ends in the decoded text; -1: not known yet
  };

  void Hold(TokenEvent&& event);
  void AddDecoded(const std::string& text);
  void Emit(const std::string& text);
  void Release();

  int32_t choice_;
  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  IncrementalDetokenizer detokenizer_;
  std::optional<StopMatcher> matcher_;

  int32_t num_tokens_ = 0;
  int64_t decoded_bytes_ = 0;  // out of the detokenizer
  int64_t emitted_bytes_ = 0;  // of these, certain to be output
  std::deque<HeldToken> held_;
  ChoiceEnd end_ = ChoiceEnd::kNone;
  std::optional<std::string> matched_stop_;
  TokenId matched_token_ = -1;

  ChoiceDelta ready_;  // text that is out, and its tokens
  ChoiceDelta tail_;   // tokens without text, and the end
  bool first_ = true;  // no delta taken yet
  bool end_taken_ = false;
};

}  // namespace inferd
