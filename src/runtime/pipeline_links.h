#pragma once

#include <memory>
#include <optional>

#include "inferd/model/parallel.h"
#include "runtime/background_sender.h"
#include "runtime/timed_link.h"

namespace inferd::runtime {

// A rank's links to other stages: what it sends goes out while it computes the next step,
// and the time it waits is counted.
class PipelineLinks {
 public:
  // Of `links`, which outlive it, those there are. May throw as BackgroundSender.
  PipelineLinks(const RankLinks& links, const Clock& clock) {
    if (links.previous != nullptr) previous_.emplace(*links.previous, clock);
    if (links.next == nullptr) return;
    sender_.emplace(*links.next, kHiddenStatesInFlight);
    next_.emplace(*sender_, clock);
  }

  // In place of the rank's.
  Communicator* previous() { return previous_ ? &*previous_ : nullptr; }
  Communicator* next() { return next_ ? &*next_ : nullptr; }

  int64_t waited_us() const {
    return (previous_ ? previous_->message_us() : 0) + (next_ ? next_->message_us() : 0);
  }

 private:
  std::optional<TimedLink> previous_;
  std::optional<BackgroundSender> sender_;
  std::optional<TimedLink> next_;
};

}  // namespace inferd::runtime
