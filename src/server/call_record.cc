#include "server/call_record.h"

#include <string_view>

namespace inferd {
namespace {

std::string_view FinishReasonName(const CallRecord& record, const Status& status) {
  if (status.code() == StatusCode::kCancelled) return "abort";
  if (!status.ok()) return "error";
  if (record.any_length) return "length";
  return record.any_time_limit ? "time_limit" : "stop";
}

}  // namespace

bool CallRecord::NoteDeltas(const std::vector<ChoiceDelta>& deltas, int32_t num_tokens,
                            int64_t arrival_us, int64_t now_us) {
  const bool first = first_token_us < 0;
  if (first) {
    first_token_us = now_us;
    summary.ttft_us = now_us - arrival_us;
  }
  last_token_us = now_us;
  summary.usage.completion_tokens = num_tokens;
  for (const ChoiceDelta& delta : deltas) {
    any_length |= delta.end == ChoiceEnd::kLength;
    any_time_limit |= delta.end == ChoiceEnd::kTimeLimit;
  }
  return first;
}

EndedRequest CallRecord::Ended(const Status& status, int64_t e2e_us) const {
  EndedRequest ended;
  ended.outcome = CallOutcome::kFailed;
  if (status.ok()) ended.outcome = CallOutcome::kFinished;
  if (status.code() == StatusCode::kCancelled) ended.outcome = CallOutcome::kCancelled;
  ended.finish_reason = FinishReasonName(*this, status);
  ended.summary = summary;
  ended.num_choices = num_choices;
  ended.asked_tokens = asked_tokens;
  ended.max_new_tokens = max_new_tokens;
  ended.e2e_us = e2e_us;
  if (last_token_us > first_token_us) ended.decode_us = last_token_us - first_token_us;
  return ended;
}

}  // namespace inferd
