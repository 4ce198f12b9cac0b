#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "inferd/comm/communicator.h"
#include "inferd/runtime/rank.h"
#include "runtime/seq_table.h"

namespace inferd::testing {

inline constexpr TokenId kToyVocab = 1000;
// Tokens of a prompt that a toy rank cannot bear, whenever it samples after them.
inline constexpr TokenId kAbortToken = 900;
inline constexpr TokenId kHangToken = 901;
inline constexpr TokenId kErrorToken = 902;
inline constexpr TokenId kExitToken = 903;
inline constexpr TokenId kStopToken = 904;  // SIGSTOP to itself

inline runtime::RankLimits ToyLimits() {
  runtime::RankLimits limits;
  limits.max_running = 8;
  limits.max_batched_tokens = 64;
  limits.max_model_len = 256;
  limits.block_size = 4;
  limits.num_blocks = 200;
  limits.vocab_size = kToyVocab;
  return limits;
}

// The token a toy rank draws: a function of the seed and the whole history.
inline TokenId ToyDraw(std::span<const TokenId> history, uint64_t seed) {
  uint64_t hash = seed + 0x9e3779b97f4a7c15;
  for (const TokenId token : history) {
    hash = (hash ^ static_cast<uint64_t>(token)) * 0x100000001b3;
    hash ^= hash >> 29;
  }
  return static_cast<TokenId>(hash % 800);
}

inline RankInfo ToyInfo(const RankPlace& place) {
  RankInfo info;
  info.place = place;
  info.config.vocab_size = kToyVocab;
  info.memory.max_model_len = ToyLimits().max_model_len;
  info.memory.num_blocks = ToyLimits().num_blocks;
  return info;
}

// A rank without a model. With others it says its draws to them and hears theirs, as
// real ranks do with their sums.
class ToyRank final : public Rank {
 public:
  // `slow`: a step takes a millisecond.
  ToyRank(const RankPlace& place, const RankLinks& links, bool slow)
      : info_(ToyInfo(place)), links_(links), slow_(slow), sequences_(ToyLimits()) {}

  void Begin(const BatchPlan& plan) override { result_ = Draw(plan); }
  StepResult End() override { return std::move(result_); }
  bool IsDone() override { return true; }
  Status WarmUp() override { return Agree(0); }
  const RankInfo& info() const override { return info_; }

 private:
  StepResult Draw(const BatchPlan& plan) {
    StepResult result;
    result.step = plan.step;
    result.error = sequences_.Apply(plan);
    if (slow_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const StepEntry& entry : plan.entries) {
      if (!result.error.ok()) return result;
      if (entry.sample == 0) continue;
      const runtime::RankSequence& sequence = sequences_.at(entry.slot);
      for (const TokenId token : sequence.history) Suffer(token, &result);
      const TokenId token = ToyDraw(sequence.history, sequence.sampling.seed);
      sequences_.Append(entry.slot, token);
      if (result.error.ok()) result.error = Agree(token);
      if (!info_.place.answers()) continue;
      result.outputs.push_back({});
      result.outputs.back().slot = entry.slot;
      result.outputs.back().token = token;
    }
    return result;
  }
  // Only the rank that answers suffers; the others wait for it.
  void Suffer(TokenId token, StepResult* result) const {
    if (!info_.place.answers()) return;
    if (token == kAbortToken) std::abort();
    if (token == kExitToken) std::_Exit(3);
    if (token == kStopToken) raise(SIGSTOP);
    if (token == kErrorToken) result->error = InternalError("a toy rank met its token");
    while (token == kHangToken) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Status Agree(TokenId token) const {
    for (Communicator* group : {links_.tp, links_.row, links_.column, links_.previous, links_.next,
                                links_.local, links_.leaders}) {
      if (group == nullptr) continue;
      std::vector<TokenId> all(static_cast<size_t>(group->world_size()));
      INFERD_RETURN_IF_ERROR(group->AllGather(std::as_bytes(std::span(&token, 1)),
                                              std::as_writable_bytes(std::span(all))));
      for (const TokenId other : all) {
        if (other != token) return InternalError("the ranks disagree");
      }
    }
    return OkStatus();
  }

  const RankInfo info_;
  const RankLinks links_;
  const bool slow_;
  runtime::SeqTable sequences_;
  StepResult result_;
};

}  // namespace inferd::testing
