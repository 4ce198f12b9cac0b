#include "engine/fake_ranks.h"

#include <algorithm>
#include <utility>

namespace inferd::testing {

OracleText RunOracle(const ToyModel& model, std::span<const TokenId> prompt, uint64_t seed,
                     uint64_t salt, const StopRules& stop, int32_t max_len) {
  OracleText text;
  uint64_t content = salt, folded = 0;
  auto append = [&](TokenId token) {
    content = ToyModel::Content(content, token);
    folded = Mix(folded, content);
  };
  for (const TokenId token : prompt) append(token);
  auto length = static_cast<int32_t>(prompt.size());
  for (;;) {
    if (model.Corrupts(seed, length)) {
      text.finish = FinishReason::kCorrupted;
      return text;
    }
    const TokenId token = model.Draw(folded, seed, length);
    text.tokens.push_back(token);
    append(token);
    ++length;
    if (std::find(stop.stop_tokens.begin(), stop.stop_tokens.end(), token) !=
        stop.stop_tokens.end()) {
      text.finish = FinishReason::kStopToken;
      return text;
    }
    if (static_cast<int32_t>(text.tokens.size()) >= stop.max_new_tokens || length >= max_len) {
      text.finish = FinishReason::kLength;
      return text;
    }
  }
}

FakeRanks::FakeRanks(const Options& options)
    : options_(options),
      checker_(options.limits),
      random_(Mix(options.seed, 0x66616b65)),
      kv_(static_cast<size_t>(options.limits.num_blocks) *
          static_cast<size_t>(options.limits.block_size)),
      slots_(static_cast<size_t>(options.limits.num_slots)) {
  FillMemory();
}

// Memory is never clean.
void FakeRanks::FillMemory() {
  for (size_t i = 0; i < kv_.size(); ++i) kv_[i] = Mix(random_, i);
}

bool FakeRanks::Reset() {
  if (options_.die_one_in == 0 && options_.poison_seed == 0) return false;
  if (state_ == ExecutorState::kReady) ++num_deaths_;
  state_ = ExecutorState::kRestarting;
  random_ += 0x9e3779b97f4a7c15;
  FillMemory();
  checker_.emplace(options_.limits);
  for (auto& slot : slots_) slot = nullptr;
  steps_.clear();
  log_.clear();
  drawn_.clear();
  return true;
}

void FakeRanks::Tick() {
  if (state_ == ExecutorState::kRestarting && Random(4) == 0) state_ = ExecutorState::kReady;
  if (state_ != ExecutorState::kReady || options_.die_one_in == 0) return;
  if (Random(options_.die_one_in) == 0) Die();
}

uint64_t FakeRanks::Random(uint64_t below) {
  random_ += 0x9e3779b97f4a7c15;
  return Mix(random_, 1) % below;
}

void FakeRanks::Submit(std::shared_ptr<const BatchPlan> plan) {
  ++num_plans_;
  if (state_ != ExecutorState::kReady && violation_.ok()) {
    violation_ = InternalError("a plan for ranks that are not there");
  }
  if (options_.check_plans && violation_.ok()) {
    checker_->SetCompleted(plan->step - 1 - steps_.size());
    violation_ = checker_->Apply(*plan);
  }
  log_.push_back(plan);
  Step& step = steps_.emplace_back();
  step.plan = plan;
  if (!violation_.ok()) return;
  for (const SlotId slot : plan->released) slots_[slot] = nullptr;
  for (const AdmittedSequence& admitted : plan->admitted) {
    auto sequence = std::make_shared<Sequence>();
    const auto first = plan->tokens.begin() + admitted.first_token;
    sequence->history.assign(first, first + admitted.num_tokens);
    sequence->seed = admitted.sampling.seed;
    sequence->salt = options_.salt ? options_.salt(sequence->seed) : 0;
    slots_[admitted.slot] = std::move(sequence);
  }
  step.work.resize(plan->entries.size());
  for (size_t i = 0; i < plan->entries.size(); ++i) {
    Work& work = step.work[i];
    work.entry = plan->entries[i];
    work.sequence = slots_[work.entry.slot];
    if (work.sequence == nullptr) {  // only with check_plans off
      violation_ = InternalError("an entry for an empty slot");
      return;
    }
    work.number = work.sequence->entries_given++;
    if (options_.tokens_from_plans) {
      std::vector<TokenId>& history = work.sequence->history;
      const auto end = static_cast<size_t>(work.entry.start + work.entry.count);
      if (end == history.size() + 1 && work.entry.input_token >= 0) {
        history.push_back(work.entry.input_token);
      }
      if (end > history.size()) {
        violation_ = InternalError("an entry for a token that the plans did not bring");
        return;
      }
    }
    if (options_.poison_seed != 0 && work.sequence->seed == options_.poison_seed &&
        state_ == ExecutorState::kReady) {
      Die();
    }
    const auto first = plan->new_blocks.begin() + work.entry.first_new_block;
    work.sequence->table.insert(work.sequence->table.end(), first,
                                first + work.entry.num_new_blocks);
  }
  RunAhead();
}

uint64_t& FakeRanks::Kv(const Sequence& sequence, int32_t position) {
  const auto size = static_cast<size_t>(options_.limits.block_size);
  const auto at = static_cast<size_t>(position);
  const BlockId block =
      at / size < sequence.table.size() ? sequence.table[at / size] : kPaddingBlock;
  return kv_[static_cast<size_t>(block) * size + at % size];
}

void FakeRanks::Run(Step& step, Work& work) {
  Sequence& s = *work.sequence;
  const int32_t end = work.entry.start + work.entry.count;
  for (int32_t p = work.entry.start; p < end; ++p) {
    const TokenId token =
        static_cast<size_t>(p) < s.history.size() ? s.history[static_cast<size_t>(p)] : -1;
    Kv(s, p) = ToyModel::Content(p == 0 ? s.salt : Kv(s, p - 1), token);
  }
  if (work.entry.sample != 0) {
    work.output.slot = work.entry.slot;
    uint64_t folded = 0;
    for (int32_t p = 0; p < end; ++p) {
      const uint64_t content = Kv(s, p);
      if (content == ToyModel::kPoison) work.output.corrupted = true;
      folded = Mix(folded, content);
    }
    if (options_.model.Corrupts(s.seed, end)) {
      work.output.corrupted = true;
      for (int32_t p = work.entry.start; p < end; ++p) Kv(s, p) = ToyModel::kPoison;
    }
    const TokenId token = options_.model.Draw(folded, s.seed, end);
    if (!work.output.corrupted) work.output.token = token;
    if (!options_.tokens_from_plans) s.history.push_back(token);
  }
  ++s.entries_run;
  work.done = true;
  ++step.num_done;
}

bool FakeRanks::RunOne(Step& step) {
  const size_t n = step.work.size();
  if (step.num_done == n) return false;
  const size_t first = Random(n);
  for (size_t i = 0; i < n; ++i) {
    Work& work = step.work[(first + i) % n];
    if (work.done || work.number != work.sequence->entries_run) continue;
    Run(step, work);
    return true;
  }
  return false;
}

void FakeRanks::RunAhead() {
  if (options_.order == Order::kInOrder) return;
  const bool newest_first = options_.order == Order::kNewestFirst;
  uint64_t budget = newest_first ? 1 + Random(8) : Random(6);
  for (size_t tries = 0; budget > 0 && tries < 2 * steps_.size(); ++tries) {
    const size_t i =
        newest_first ? steps_.size() - 1 - tries % steps_.size() : Random(steps_.size());
    while (budget > 0 && RunOne(steps_[i])) {
      --budget;
      if (!newest_first) break;
    }
  }
}

StepResult FakeRanks::Await() {
  StepResult result;
  Step& step = steps_.front();
  result.step = step.plan->step;
  if (!violation_.ok()) {
    result.error = violation_;
    return result;
  }
  if (state_ == ExecutorState::kReady && options_.die_one_in != 0 &&
      Random(options_.die_one_in) == 0) {
    Die();
  }
  if (state_ != ExecutorState::kReady) {
    result.error = UnavailableError("a rank died");
    return result;
  }
  RunAhead();
  while (RunOne(step)) {
  }
  for (const Work& work : step.work) {
    if (work.entry.sample == 0) continue;
    result.outputs.push_back(work.output);
    drawn_.push_back(work.output.token);
  }
  steps_.pop_front();
  return result;
}

}  // namespace inferd::testing
