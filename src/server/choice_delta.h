// What the detokenizer side hands to a protocol's stream. Plain data.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/plan/step_result.h"

namespace inferd {

// How a choice ended, as clients see it.
enum class ChoiceEnd : uint8_t { kNone, kStop, kLength, kTimeLimit };

struct TokenPiece {
  TokenId token = -1;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

// New text of one choice with the tokens it came from, or the choice's end, or
// both. Text is whole UTF-8.
struct ChoiceDelta {
  int32_t choice = 0;
  std::string text;
  int32_t num_tokens = 0;
  std::vector<TokenPiece> pieces;  // num_tokens of them, or none when not asked for
  ChoiceEnd end = ChoiceEnd::kNone;
  std::optional<std::string> matched_stop;  // the stop string that fired
  TokenId matched_token = -1;               // or the stop token
};

// Adds the text and tokens of `from`; the end of `to` stays as it is.
inline void AppendDelta(ChoiceDelta&& from, ChoiceDelta* to) {
  to->text += from.text;
  to->num_tokens += from.num_tokens;
  to->pieces.insert(to->pieces.end(), std::make_move_iterator(from.pieces.begin()),
                    std::make_move_iterator(from.pieces.end()));
}

// Counts of one request so far.
struct CallUsage {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t completion_tokens = 0;
};

// Facts of the request that some answers repeat; set before the first delta.
struct PromptFacts {
  int32_t num_tokens = 0;
  std::vector<TokenId> token_ids;  // when return_token_ids was asked for
  std::string echo;                // the prompt's text, when asked for
};

}  // namespace inferd
