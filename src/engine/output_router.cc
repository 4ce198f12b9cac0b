#include "engine/output_router.h"

#include <utility>

namespace inferd {

void OutputRouter::Post(const std::vector<SequenceOutput>& outputs,
                        std::span<const TokenLogprob> top) {
  if (outputs.empty()) return;
  std::vector<TokenEvent> events(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const SequenceOutput& output = outputs[i];
    TokenEvent& event = events[i];
    event.request = output.request;
    event.choice = output.choice;
    event.token = output.token;
    event.logprob = output.logprob;
    event.finish = output.finish;
    event.cached_tokens = output.cached_tokens;
    event.queue_us = output.queue_us;
    if (output.num_top > 0) {
      const auto own =
          top.subspan(static_cast<size_t>(output.first_top), static_cast<size_t>(output.num_top));
      event.top.assign(own.begin(), own.end());
    }
  }
  sink_.Post(std::move(events));
}

}  // namespace inferd
