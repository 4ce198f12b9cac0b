#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/status.h"
#include "server/choice_delta.h"

namespace inferd {

// What is known of a request when it ends.
struct CallSummary {
  CallUsage usage;
  int64_t queue_us = -1;  // -1: was never scheduled
  int64_t ttft_us = -1;   // -1: no token was handed over
};

// The protocol's end of one generation request. Thread-safe; no call waits. The
// order is Begin, any number of Deliver, End. End may come at any time from
// another thread; what comes after it is to be ignored.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual void Begin(PromptFacts facts) = 0;
  // `usage` after these deltas. Not OK when the client does not keep up: the
  // request is to be ended with that status.
  virtual Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage& usage) = 0;
  // Exactly once: the rpc's status.
  virtual void End(const Status& status, const CallSummary& summary) = 0;
};

}  // namespace inferd
