#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "server/choice_delta.h"

namespace inferd {

// The deltas of an answer that goes out whole, put together per choice. One thread
// at a time.
class GatheredAnswer {
 public:
  explicit GatheredAnswer(int32_t num_choices) : choices_(static_cast<size_t>(num_choices)) {
    for (int32_t i = 0; i < num_choices; ++i) choices_[static_cast<size_t>(i)].choice = i;
  }

  void Add(std::vector<ChoiceDelta>&& deltas) {
    for (ChoiceDelta& delta : deltas) {
      ChoiceDelta& choice = choices_[static_cast<size_t>(delta.choice)];
      if (delta.end != ChoiceEnd::kNone) {
        choice.end = delta.end;
        choice.matched_stop = std::move(delta.matched_stop);
        choice.matched_token = delta.matched_token;
      }
      AppendDelta(std::move(delta), &choice);
    }
  }

  // All choices, in order. Once.
  std::vector<ChoiceDelta> Take() { return std::move(choices_); }

 private:
  std::vector<ChoiceDelta> choices_;
};

}  // namespace inferd
