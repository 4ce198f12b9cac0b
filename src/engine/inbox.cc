#include "engine/inbox.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "inferd/base/check.h"

namespace inferd {
namespace {

// How late a deadline may be noticed while there is nothing else to do.
constexpr std::chrono::milliseconds kBriefWait{5};

}  // namespace

Inbox::Inbox(const EngineOptions& options, int32_t max_len, const Clock& clock)
    : max_len_(max_len),
      ageing_{options.priority_step_us, options.priority_limit_us},
      clock_(clock),
      limits_(options.queue) {}

void Inbox::SetLimits(const QueueLimits& limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

Status Inbox::Submit(RequestSpec spec) {
  INFERD_RETURN_IF_ERROR(CheckSpec(spec));
  const auto prompt_tokens = static_cast<int64_t>(spec.prompt.size());
  const int64_t now_us = clock_.NowUs();
  const int64_t rank = RankOf(spec.priority, now_us, ageing_);
  {
    std::lock_guard lock(mutex_);
    INFERD_RETURN_IF_ERROR(CheckStateLocked());
    INFERD_RETURN_IF_ERROR(CheckQueueLocked(spec.tenant, prompt_tokens));
    INFERD_RETURN_IF_ERROR(CheckDeadlineLocked(spec, rank, now_us));
    if (!live_.try_emplace(spec.id, Live{rank, spec.tenant, prompt_tokens}).second) {
      return Status(StatusCode::kAlreadyExists, "a request with this id is live");
    }
    pace_.Advance(now_us, queued_requests_ > 0);
    TenantQueue& queue = queues_[spec.tenant];
    ++queue.requests;
    queue.tokens += prompt_tokens;
    ++queue.by_rank[rank];
    ++accepted_;
    ++queued_requests_;
    queued_tokens_ += prompt_tokens;
    spec.queue_deadline_us = limits_.max_time_us >= 0 ? now_us + limits_.max_time_us : -1;
    batch_.submissions.push_back({std::move(spec), now_us});
  }
  not_empty_.notify_one();
  return OkStatus();
}

Status Inbox::CheckStateLocked() const {
  if (state_ == EngineState::kRunning && !stopped_) return OkStatus();
  ErrorDetail detail;
  if (state_ == EngineState::kDead) {
    detail.reason = "ENGINE_DEAD";
    return Status(StatusCode::kUnavailable, "the engine has failed", detail);
  }
  if (stopped_) {
    detail.reason = "ENGINE_STOPPED";
    return Status(StatusCode::kUnavailable, "the engine is stopping", detail);
  }
  detail.reason = "RANKS_RESTARTING";
  detail.retry_after_ms = retry_after_ms_;
  return Status(StatusCode::kUnavailable, "the ranks are being started again", detail);
}

Status Inbox::CheckSpec(const RequestSpec& spec) const {
  if (spec.prompt.empty()) return InvalidField("prompt", "has no tokens");
  if (spec.num_choices < 1 || spec.num_choices > kMaxChoices) {
    return InvalidField("n", "must be between 1 and " + std::to_string(kMaxChoices));
  }
  if (spec.stop.max_new_tokens < 1) return InvalidField("max_tokens", "must be positive");
  if (spec.prompt.size() >= static_cast<size_t>(max_len_)) {
    ErrorDetail detail;
    detail.reason = "CONTEXT_LENGTH_EXCEEDED";
    detail.field = "prompt";
    detail.metadata = {{"prompt_tokens", std::to_string(spec.prompt.size())},
                       {"max_tokens_in_context", std::to_string(max_len_)}};
    return Status(StatusCode::kInvalidArgument,
                  "prompt: " + std::to_string(spec.prompt.size()) +
                      " tokens leave no room for an answer in a context of " +
                      std::to_string(max_len_),
                  detail);
  }
  return OkStatus();
}

const Inbox::TenantQueue* Inbox::FindQueueLocked(TenantId tenant) const {
  const auto place = queues_.find(tenant);
  return place == queues_.end() ? nullptr : &place->second;
}

Status Inbox::CheckQueueLocked(TenantId tenant, int64_t prompt_tokens) const {
  // A prompt beyond the token limit is let into an empty queue: no wait would help it.
  const bool too_many = queued_requests_ >= limits_.max_requests;
  const bool too_long = queued_requests_ > 0 && prompt_tokens > limits_.max_tokens - queued_tokens_;
  const TenantQueue* own = tenant == 0 ? nullptr : FindQueueLocked(tenant);
  bool past_share = false;
  if (own != nullptr) {
    const double share = limits_.tenant_share;
    const auto requests =
        static_cast<double>(limits_.max_requests - queued_requests_ + own->requests);
    const auto tokens = static_cast<double>(limits_.max_tokens - queued_tokens_ + own->tokens);
    past_share = own->requests + 1 > share * requests ||
                 static_cast<double>(own->tokens + prompt_tokens) > share * tokens;
  }
  if (!too_many && !too_long && !past_share) return OkStatus();
  // The time to work off what is queued, at the pace of late.
  const double wait_ms = tokens_per_second_ > 0
                             ? static_cast<double>(queued_tokens_) / tokens_per_second_ * 1e3
                             : 1000.0;
  ErrorDetail detail;
  detail.reason = "QUEUE_FULL";
  detail.retry_after_ms = static_cast<int64_t>(std::clamp(wait_ms, 100.0, 30000.0));
  detail.metadata = {{"queued_requests", std::to_string(queued_requests_)},
                     {"queued_tokens", std::to_string(queued_tokens_)}};
  if (own != nullptr) {
    detail.metadata.emplace_back("tenant_requests", std::to_string(own->requests));
    detail.metadata.emplace_back("tenant_tokens", std::to_string(own->tokens));
  }
  return Status(StatusCode::kResourceExhausted,
                too_many   ? "the queue is full"
                : too_long ? "the queue holds too many prompt tokens"
                           : "the queue holds as much of this tenant as leaves room for others",
                detail);
}

Status Inbox::CheckDeadlineLocked(const RequestSpec& spec, int64_t rank, int64_t now_us) const {
  if (spec.deadline_us < 0 || spec.deadline_is_soft) return OkStatus();
  const auto left_us = static_cast<double>(spec.deadline_us - now_us);
  double wait_us = 0;
  if (left_us > 0) {
    // Who finds no backlog is scheduled with the next plan, whatever the pace was before.
    if (!backlog_) return OkStatus();
    const double pace_us = pace_.UsPerRequest(now_us);
    const TenantQueue* own = FindQueueLocked(spec.tenant);
    // Most requests need no closer look at who comes before them. Other tenants' take
    // turns with ours, as their size lets them: not counted, for the wait must not be
    // expected too long.
    if (own == nullptr || own->requests * pace_us < left_us) return OkStatus();
    int64_t ahead = 0;
    for (auto it = own->by_rank.begin(); it != own->by_rank.end() && it->first <= rank; ++it) {
      ahead += it->second;
    }
    wait_us = static_cast<double>(ahead) * pace_us;
    if (wait_us < left_us) return OkStatus();
  }
  ErrorDetail detail;
  detail.reason = "DEADLINE";
  detail.metadata = {{"estimated_wait_ms", std::to_string(static_cast<int64_t>(wait_us / 1000))},
                     {"queued_requests", std::to_string(queued_requests_)}};
  return Status(StatusCode::kDeadlineExceeded,
                left_us > 0 ? "the deadline is nearer than the estimated wait in the queue"
                            : "the deadline passed before the request was queued",
                detail);
}

void Inbox::Cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    const auto place = live_.find(id);
    if (place == live_.end() || place->second.cancelled) return;
    place->second.cancelled = true;
    batch_.cancelled.push_back(id);
  }
  not_empty_.notify_one();
}

void Inbox::FinishChoice(RequestId id, int32_t choice) {
  if (choice < 0 || choice >= kMaxChoices) return;
  {
    std::lock_guard lock(mutex_);
    const auto place = live_.find(id);
    const uint64_t bit = uint64_t{1} << choice;
    if (place == live_.end() || (place->second.finished_choices & bit) != 0) return;
    place->second.finished_choices |= bit;
    batch_.finished_choices.emplace_back(id, choice);
  }
  not_empty_.notify_one();
}

Inbox::Counts Inbox::counts() const {
  std::lock_guard lock(mutex_);
  return {accepted_, static_cast<int32_t>(live_.size())};
}

void Inbox::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  not_empty_.notify_one();
}

void Inbox::Wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  not_empty_.notify_one();
}

bool Inbox::Drain(Wait wait, InboxBatch& batch) {
  batch.Clear();
  std::unique_lock lock(mutex_);
  const auto something = [this] {
    return stopped_ || woken_ || !batch_.submissions.empty() || !batch_.cancelled.empty() ||
           !batch_.finished_choices.empty();
  };
  if (wait == Wait::kBriefly) not_empty_.wait_for(lock, kBriefWait, something);
  if (wait == Wait::kUntilSomething) not_empty_.wait(lock, something);
  woken_ = false;
  std::swap(batch, batch_);
  return !stopped_;
}

void Inbox::Settle(const SchedulerChanges& changes, bool backlog, double tokens_per_second) {
  const int64_t now_us = clock_.NowUs();
  std::lock_guard lock(mutex_);
  pace_.Advance(now_us, queued_requests_ > 0);
  for (const SchedulerChanges::Dequeued& dequeued : changes.dequeued) {
    const auto request = live_.find(dequeued.id);
    INFERD_CHECK(request != live_.end());
    --queued_requests_;
    queued_tokens_ -= request->second.prompt_tokens;
    const auto queue = queues_.find(request->second.tenant);
    INFERD_CHECK(queue != queues_.end());
    queue->second.tokens -= request->second.prompt_tokens;
    const auto place = queue->second.by_rank.find(request->second.rank);
    INFERD_CHECK(place != queue->second.by_rank.end());
    if (--place->second == 0) queue->second.by_rank.erase(place);
    if (--queue->second.requests == 0) queues_.erase(queue);
    if (dequeued.scheduled) pace_.Depart();
  }
  backlog_ = backlog;
  tokens_per_second_ = tokens_per_second;
  for (const RequestId id : changes.ended) live_.erase(id);
}

void Inbox::SetState(EngineState state, int64_t retry_after_ms) {
  std::lock_guard lock(mutex_);
  state_ = state;
  retry_after_ms_ = retry_after_ms;
}

}  // namespace inferd
