#pragma once

#include <memory>
#include <string>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/text/tokenizer.h"

namespace inferd {

// Tokens in, whole UTF-8 out, one sequence's worth. The concatenation of what
// Push and Flush return equals Tokenizer::Decode of all tokens (with incomplete
// UTF-8 at the end replaced by U+FFFD). One thread at a time.
class IncrementalDetokenizer {
 public:
  // `tokenizer` must outlive this. `at_sequence_start`: whether the decoder's
  // start-of-sequence rule (one leading space stripped) applies to the first
  // token pushed.
  IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens,
                         bool at_sequence_start);

  // The text that became certain with this token; may be empty. Incomplete
  // UTF-8 is held back; invalid UTF-8 comes out as U+FFFD per maximal subpart.
  std::string Push(TokenId token);
  // What is still held, with U+FFFD for an incomplete sequence.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  bool first_token_;     // the next token opens the sequence
  bool strip_space_;     // a leading space is still to be stripped
  std::string pending_;  // a started UTF-8 sequence, at most 3 bytes
};

}  // namespace inferd
