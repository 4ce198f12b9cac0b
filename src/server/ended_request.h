#pragma once

#include <cstdint>
#include <string_view>

#include "server/accounting.h"
#include "server/client_stream.h"

namespace inferd {

// One generation request at its end. Plain data.
struct EndedRequest {
  CallOutcome outcome = CallOutcome::kFinished;
  std::string_view finish_reason;  // stop, length, time_limit, abort, error
  CallSummary summary;
  int32_t num_choices = 1;
  int32_t asked_tokens = 0;    // the client's limit per choice; 0: it set none
  int32_t max_new_tokens = 0;  // 0: never prepared
  int64_t e2e_us = 0;
  int64_t decode_us = -1;  // first to last token; -1: fewer than two
};

}  // namespace inferd
