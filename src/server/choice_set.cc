#include "server/choice_set.h"

#include <algorithm>
#include <utility>

namespace inferd {

void ChoiceSet::Open(int32_t num_choices, const Tokenizer& tokenizer,
                     const DecodeOptions& options) {
  for (int32_t i = 0; i < num_choices; ++i) {
    decoders_.push_back(std::make_unique<ChoiceDecoder>(i, tokenizer, options));
  }
  last_delta_us_.assign(static_cast<size_t>(num_choices), -1);
  choices_left_ = num_choices;
}

ChoiceDecoder* ChoiceSet::Find(int32_t choice) {
  if (choice < 0 || static_cast<size_t>(choice) >= decoders_.size()) return nullptr;
  return decoders_[static_cast<size_t>(choice)].get();
}

void ChoiceSet::Collect(ChoiceDecoder& decoder) {
  while (auto delta = decoder.Take()) {
    // A batch holds many tokens when this thread lags: one delta for them all.
    const auto same = std::find_if(deltas_.begin(), deltas_.end(), [&](const ChoiceDelta& d) {
      return d.choice == delta->choice && d.end == ChoiceEnd::kNone;
    });
    if (same == deltas_.end() || delta->end != ChoiceEnd::kNone) {
      deltas_.push_back(std::move(*delta));
    } else {
      AppendDelta(std::move(*delta), &*same);
    }
  }
  if (decoder.finished()) --choices_left_;
}

std::vector<ChoiceDelta> ChoiceSet::TakeDeltas() { return std::exchange(deltas_, {}); }

void ChoiceSet::NoteLatency(const std::vector<ChoiceDelta>& deltas, int64_t now_us,
                            const std::function<void(int64_t, int32_t)>& note) {
  // Deltas of one choice that go out together are one hand-over.
  std::vector<int32_t> tokens(decoders_.size(), 0);
  for (const ChoiceDelta& delta : deltas) {
    tokens[static_cast<size_t>(delta.choice)] += delta.num_tokens;
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == 0) continue;
    if (last_delta_us_[i] >= 0) note(now_us - last_delta_us_[i], tokens[i]);
    last_delta_us_[i] = now_us;
  }
}

int32_t ChoiceSet::num_tokens() const {
  int32_t sum = 0;
  for (const auto& decoder : decoders_) sum += decoder->num_tokens();
  return sum;
}

}  // namespace inferd
