#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/status.h"
#include "server/choice_delta.h"
#include "server/client_stream.h"
#include "server/ended_request.h"
#include "server/request_span.h"

namespace inferd {

// What is noted of one generation request on its way: its usage, when tokens went
// out, how its choices ended. Plain data, not thread-safe: its call guards it.
struct CallRecord {
  CallSummary summary;
  int32_t num_choices = 0;
  int32_t asked_tokens = 0;
  int32_t max_new_tokens = 0;
  int64_t first_token_us = -1;        // Clock::NowUs; -1: none yet
  int64_t last_token_us = -1;         // likewise
  bool any_length = false;            // a choice ended at its length
  bool any_time_limit = false;        // or at its time limit
  SpanAttributes request_attributes;  // of a traced one

  // `deltas` go out at `now_us`, `num_tokens` having been generated so far. True
  // for the first ones, which set the time to the first token.
  bool NoteDeltas(const std::vector<ChoiceDelta>& deltas, int32_t num_tokens, int64_t arrival_us,
                  int64_t now_us);
  // The same as the metrics count it.
  EndedRequest Ended(const Status& status, int64_t e2e_us) const;
};

}  // namespace inferd
