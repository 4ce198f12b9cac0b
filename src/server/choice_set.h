#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/choice_decoder.h"

namespace inferd {

// The choices of one answer while its tokens arrive: what is ready of each goes out as one
// batch of deltas. One thread at a time.
class ChoiceSet {
 public:
  // Once, before the first token. `tokenizer` must outlive this.
  void Open(int32_t num_choices, const Tokenizer& tokenizer, const DecodeOptions& options);

  // Null for a choice there is none of.
  ChoiceDecoder* Find(int32_t choice);
  // Takes what is ready of `decoder`, which is one of these, after each Push or Finish.
  void Collect(ChoiceDecoder& decoder);

  bool has_deltas() const { return !deltas_.empty(); }
  std::vector<ChoiceDelta> TakeDeltas();
  // Of each choice of which `deltas` hold tokens, and had held some before: the time since
  // then, and the number of tokens.
  void NoteLatency(const std::vector<ChoiceDelta>& deltas, int64_t now_us,
                   const std::function<void(int64_t elapsed_us, int32_t tokens)>& note);

  // All choices have ended; false before Open.
  bool complete() const { return choices_left_ == 0 && !decoders_.empty(); }
  int32_t num_tokens() const;  // of all choices

 private:
  std::vector<std::unique_ptr<ChoiceDecoder>> decoders_;
  std::vector<int64_t> last_delta_us_;  // per choice; -1: none yet
  std::vector<ChoiceDelta> deltas_;     // collected
  int32_t choices_left_ = 0;
};

}  // namespace inferd
