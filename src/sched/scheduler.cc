// Making plans: who gets tokens, blocks and slots in the next step.
#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "inferd/base/check.h"

namespace inferd {
namespace {

// Of a step, whatever its time: below it the products of a step are not worth reading
// the weights for.
constexpr int32_t kLeastPromptTokens = 16;
// Of one plan, of those it admits, with one more sequence: a plan carries whole histories,
// however much of them is cached, and has to fit the way to a rank that is busy.
constexpr int64_t kMostPlanTokens = 256 << 10;

bool ComesBefore(const Sequence* a, const Sequence* b) { return a->key < b->key; }

}  // namespace

int32_t MaxSequenceLen(const SchedulerOptions& options) {
  const int64_t kv_tokens = int64_t{options.num_blocks - 1} * options.block_size;
  return static_cast<int32_t>(std::min<int64_t>(options.max_model_len, kv_tokens));
}

int64_t RankOf(int32_t priority, int64_t submitted_us, const PriorityAgeing& ageing) {
  if (ageing.step_us == 0) return priority;
  // Saturates before the product can overflow.
  const int64_t max_steps = ageing.limit_us / ageing.step_us + 1;
  const int64_t steps = std::clamp<int64_t>(priority, -max_steps, max_steps);
  return submitted_us + std::clamp(steps * ageing.step_us, -ageing.limit_us, ageing.limit_us);
}

Scheduler::Scheduler(const SchedulerOptions& options, const HashKey& key,
                     const FaultInjection& faults)
    : options_(options),
      max_len_(MaxSequenceLen(options)),
      faults_(faults),
      kv_(options.num_blocks, options.block_size, options.prefix_caching, key, faults) {
  INFERD_CHECK(options.max_running >= 1 && options.max_batched_tokens >= 1 &&
               options.micro_batches >= 1);
  for (SlotId slot = options.max_running; slot-- > 0;) free_slots_.push_back(slot);
}

Scheduler::~Scheduler() = default;

void Scheduler::Add(RequestSpec spec, int64_t submitted_us) {
  INFERD_CHECK(!spec.prompt.empty() && static_cast<int64_t>(spec.prompt.size()) < max_len_);
  INFERD_CHECK(spec.num_choices >= 1 && spec.stop.max_new_tokens >= 1);
  now_us_ = std::max(now_us_, submitted_us);
  const RequestId id = spec.id;
  auto [place, is_new] = requests_.try_emplace(id, std::make_unique<Request>());
  INFERD_CHECK(is_new);
  Request& request = *place->second;
  request.prompt_tokens = static_cast<int64_t>(spec.prompt.size());
  request.submitted_us = submitted_us;
  request.account = waiting_.Join(spec.tenant);
  request.live_choices = request.unreaped_choices = spec.num_choices;
  request.choices.resize(static_cast<size_t>(spec.num_choices));
  request.choices[0].tokens = std::move(spec.prompt);
  request.spec = std::move(spec);
  const uint64_t arrival = next_arrival_++;
  const int64_t rank = RankOf(request.spec.priority, submitted_us, options_.ageing);
  for (int32_t i = 0; i < request.spec.num_choices; ++i) {
    Sequence& s = request.choices[static_cast<size_t>(i)];
    s.request = &request;
    s.key = {rank, arrival, i};
    s.num_prompt = static_cast<int32_t>(request.prompt_tokens);
  }
  num_held_ += request.spec.num_choices;
  waiting_prompt_tokens_ += request.prompt_tokens;
  if (request.spec.deadline_us >= 0) deadlines_.Add(request.spec.deadline_us, id);
  if (request.spec.queue_deadline_us >= 0) queue_limits_.Add(request.spec.queue_deadline_us, id);
  // With something to share, the siblings wait until the first choice has
  // published the prompt; they then find it like anyone else.
  const bool shares = kv_.prefix_caching() && request.prompt_tokens > kv_.block_size();
  Unhold(request, /*all=*/!shares);
}

std::shared_ptr<const BatchPlan> Scheduler::Schedule(int64_t now_us) {
  ++round_;
  budget_ = options_.max_batched_tokens;
  may_admit_ = true;
  step_has_prefill_ = step_has_decode_ = false;
  step_sequences_.clear();

  if (!ScheduleSuspect(now_us)) {
    ScheduleDecodes();
    LimitPrompts();
    SchedulePrefills();
    AdmitWaiting(now_us);
  }

  if (builder_.empty()) {
    FailWhatCannotRun();
    return nullptr;
  }
  Record& record = records_.emplace_back();
  record.plan = builder_.Finish();
  record.sequences.swap(step_sequences_);
  record.kind = !step_has_decode_    ? StepKind::kPrefill
                : !step_has_prefill_ ? StepKind::kDecode
                                     : StepKind::kMixed;
  return record.plan;
}

void Scheduler::ScheduleDecodes() {
  int32_t left = DecodesPerStep();
  for (size_t i = 0; i < running_.size() && budget_ > 0 && left > 0; ++i) {
    Sequence& s = *running_[i];
    if (!Decodes(s) || s.drained_in == round_) continue;
    if (options_.micro_batches > 1 && s.num_pending > 0) continue;
    if (!GetBlock(i)) continue;
    GiveEntry(s, 1);
    --left;
  }
}

int32_t Scheduler::DecodesPerStep() const {
  if (options_.micro_batches == 1) return options_.max_running;
  const auto decoding = static_cast<int32_t>(std::count_if(
      running_.begin(), running_.end(), [this](const Sequence* s) { return Decodes(*s); }));
  return (decoding + options_.micro_batches - 1) / options_.micro_batches;
}

void Scheduler::LimitPrompts() {
  if (!step_has_decode_ || options_.mixed_step_us == 0) return;
  const int32_t decodes = options_.max_batched_tokens - budget_;
  const double alone_us = pace_.Predict(decodes);
  const double allowed_us = std::max(static_cast<double>(options_.mixed_step_us), 2 * alone_us);
  const int32_t most = pace_.MostTokens(allowed_us, options_.max_batched_tokens) - decodes;
  // Prompts get on whatever the clock said.
  budget_ = std::min(budget_, std::max(most, kLeastPromptTokens));
}

void Scheduler::SchedulePrefills() {
  for (size_t i = 0; i < running_.size() && budget_ > 0; ++i) {
    Sequence& s = *running_[i];
    if (s.num_computed >= s.num_admitted || s.drained_in == round_) continue;
    GiveEntry(s, std::min(budget_, Remaining(s)));
  }
}

void Scheduler::AdmitWaiting(int64_t now_us) {
  int64_t plan_tokens = 0;
  while (may_admit_ && budget_ > 0 && !waiting_.empty() && !free_slots_.empty() &&
         plan_tokens < kMostPlanTokens) {
    // Strictly in order: a large head is not overtaken for ever.
    Sequence& head = *waiting_.Head();
    if (IsSuspect(head) || !TryAdmit(head, now_us)) return;
    plan_tokens += head.num_admitted;
  }
}

bool Scheduler::IsKnownBlocked(const Sequence& head) const {
  return blocked_head_ == &head && !running_.empty() && kv_.num_free() <= blocked_free_ &&
         kv_.num_published() == blocked_published_;
}

bool Scheduler::TryAdmit(Sequence& s, int64_t now_us) {
  if (IsKnownBlocked(s)) return false;
  Request& request = *s.request;
  const auto num_tokens = static_cast<int32_t>(s.tokens.size());
  const int32_t cached = kv_.MatchAndPin(s.tokens, request.spec.cache_scope, s.table);
  // Leave a block for each running sequence's next tokens, or whoever is admitted
  // now is preempted next.
  const int32_t headroom = std::min(num_running(), kv_.capacity() / 8);
  const int32_t needed = kv_.BlocksFor(num_tokens) - static_cast<int32_t>(s.table.blocks.size());
  if (needed + headroom > kv_.num_free() || !kv_.Reserve(num_tokens, s.table)) {
    kv_.Release(s.table);
    waiting_.Hold(s);
    blocked_head_ = &s;
    blocked_free_ = kv_.num_free();
    blocked_published_ = kv_.num_published();
    return false;
  }
  waiting_.Erase(s);
  blocked_head_ = nullptr;
  s.state = SequenceState::kRunning;
  s.slot = free_slots_.back();
  free_slots_.pop_back();
  s.num_computed = cached;
  s.num_admitted = num_tokens;
  s.num_sent_blocks = 0;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &s, ComesBefore), &s);

  if (std::exchange(s.lost, false)) ++counters_.sequences_resumed;
  counters_.prefix_query_tokens += static_cast<uint64_t>(num_tokens);
  counters_.prefix_hit_tokens += static_cast<uint64_t>(cached);
  if (!s.was_scheduled) {
    s.was_scheduled = true;
    s.cached_tokens = cached;
    s.queue_us = std::max<int64_t>(0, now_us - request.submitted_us);
    waiting_.Serve(*request.account, (num_tokens - cached) * kPromptTokenCost);
    counters_.prompt_tokens += static_cast<uint64_t>(s.num_prompt);
    counters_.prompt_tokens_cached += static_cast<uint64_t>(cached);
    Dequeue(request, /*scheduled=*/true);
  }
  builder_.Admit(s, ChoiceSeed(request.spec.sampling.seed, s.key.choice));
  GiveEntry(s, std::min(budget_, num_tokens - cached));
  return true;
}

void Scheduler::GiveEntry(Sequence& s, int32_t count) {
  const bool sample = s.num_computed + count == s.NumKnown() || faults_.sample_every_chunk;
  (s.num_computed < s.num_admitted ? step_has_prefill_ : step_has_decode_) = true;
  builder_.AddEntry(s, count, sample);
  step_sequences_.push_back(&s);
  budget_ -= count;
  s.num_computed += count;
  ++s.in_flight;
  if (sample) ++s.num_pending;
  if (faults_.publish_before_computed) {
    PublishUpTo(s, std::min(s.num_computed, static_cast<int32_t>(s.tokens.size())));
  }
}

// A block for the next token of running_[index], if need be at the cost of those
// behind it.
bool Scheduler::GetBlock(size_t index) {
  Sequence& s = *running_[index];
  while (!kv_.Reserve(s.num_computed + 1, s.table)) {
    may_admit_ = false;
    if (!MakeRoomBehind(index)) return false;
  }
  return true;
}

bool Scheduler::MakeRoomBehind(size_t index) {
  // Those who are leaving bring blocks within the steps in flight: wait for them
  // rather than throw work away.
  if (!leaving_.empty()) return false;
  for (size_t victim = running_.size(); --victim > index;) {
    if (running_[victim]->in_flight == 0 || faults_.preempt_in_flight) {
      Preempt(victim);
      return true;
    }
  }
  // R3: everyone behind is in flight. Leave the last one out until it is not.
  if (running_.size() - 1 > index) running_.back()->drained_in = round_;
  return false;
}

void Scheduler::Preempt(size_t index) {
  Sequence& s = *running_[index];
  if (s.in_flight > 0) ForgetInFlight(s);  // only with faults_.preempt_in_flight
  ++counters_.preemptions;
  if (++s.num_preemptions > options_.max_preemptions) {
    EndSequence(s, FinishReason::kPreempted, nullptr);
    return;
  }
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  LeaveRanks(s);
  s.in_flight = s.num_pending = s.num_computed = 0;
  if (faults_.forget_generated) s.tokens.resize(static_cast<size_t>(s.num_prompt));
  Enqueue(s);
}

// The last resort of progress: with nothing planned and nothing in flight, nothing
// would ever change. Admission control makes this unreachable as far as it is right.
void Scheduler::FailWhatCannotRun() {
  if (!records_.empty()) return;
  if (!running_.empty()) {
    EndSequence(*running_.front(), FinishReason::kPreempted, nullptr);
  } else if (!waiting_.empty()) {
    EndSequence(*waiting_.Head(), FinishReason::kPreempted, nullptr);
  }
}

}  // namespace inferd
