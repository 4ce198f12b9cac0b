#include "inferd/engine/replicated_engine.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "engine/engine_sums.h"
#include "engine/prefix_memory.h"
#include "inferd/base/check.h"

namespace inferd {
namespace {

class ReplicatedEngine final : public Engine {
 public:
  ReplicatedEngine(std::vector<std::unique_ptr<Engine>> replicas, const RouterOptions& options,
                   const HashKey& key)
      : replicas_(std::move(replicas)),
        block_size_(options.block_size),
        memory_(options.max_blocks, options.block_size, key),
        losses_(replicas_.size()) {}

  Status Submit(RequestSpec spec) override {
    const std::vector<uint64_t> keys = memory_.Keys(spec.cache_scope, spec.prompt);
    std::optional<Status> refusal;
    bool refused_by_living = false;
    for (const Candidate& candidate : Rank(keys, static_cast<int64_t>(spec.prompt.size()))) {
      Status status = replicas_[candidate.replica]->Submit(spec);
      if (status.ok()) {
        Remember(keys, candidate.replica);
        return status;
      }
      if (status.code() == StatusCode::kInvalidArgument) return status;
      if (!refusal || (candidate.lives && !refused_by_living)) refusal = std::move(status);
      refused_by_living = refused_by_living || candidate.lives;
    }
    return *refusal;
  }

  // Ids that are not live somewhere are ignored there.
  void CancelRequest(RequestId id) override {
    for (const auto& replica : replicas_) replica->CancelRequest(id);
  }
  void FinishChoice(RequestId id, int32_t choice) override {
    for (const auto& replica : replicas_) replica->FinishChoice(id, choice);
  }
  void SetQueueLimits(const QueueLimits& limits) override {
    for (const auto& replica : replicas_) replica->SetQueueLimits(limits);
  }

  EngineStats Stats() const override {
    EngineStats sum = replicas_[0]->Stats();
    for (size_t r = 1; r < replicas_.size(); ++r) AddStats(replicas_[r]->Stats(), sum);
    return sum;
  }

 private:
  struct Candidate {
    size_t replica = 0;
    bool lives = false;
    int64_t tokens = 0;  // that stand before the request's first one
    size_t turn = 0;     // how many others come before it, were all else equal
  };

  // All of them, best first.
  std::vector<Candidate> Rank(std::span<const uint64_t> keys, int64_t prompt_tokens) {
    std::array<int32_t, kMaxReplicas> cached_blocks{};
    std::vector<EngineStats> stats;
    stats.reserve(replicas_.size());
    for (const auto& replica : replicas_) stats.push_back(replica->Stats());
    size_t next = 0;
    {
      const std::lock_guard lock(mutex_);
      next = next_;
      for (size_t r = 0; r < replicas_.size(); ++r) {
        if (stats[r].rank_losses == losses_[r]) continue;
        losses_[r] = stats[r].rank_losses;
        memory_.Forget(static_cast<int>(r));
      }
      memory_.Find(keys, std::span(cached_blocks).first(replicas_.size()));
    }
    std::vector<Candidate> candidates;
    for (size_t r = 0; r < replicas_.size(); ++r) {
      const int64_t cached = int64_t{cached_blocks[r]} * block_size_;
      candidates.push_back({r, stats[r].state == EngineState::kRunning,
                            stats[r].waiting_prompt_tokens + prompt_tokens - cached +
                                kTokensPerLiveRequest * stats[r].live_requests,
                            (r + replicas_.size() - next) % replicas_.size()});
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      if (a.lives != b.lives) return a.lives;
      if (a.tokens != b.tokens) return a.tokens < b.tokens;
      return a.turn < b.turn;
    });
    return candidates;
  }

  void Remember(std::span<const uint64_t> keys, size_t replica) {
    const std::lock_guard lock(mutex_);
    memory_.Remember(keys, static_cast<int>(replica));
    next_ = (replica + 1) % replicas_.size();
  }

  const std::vector<std::unique_ptr<Engine>> replicas_;
  const int64_t block_size_;
  std::mutex mutex_;
  PrefixMemory memory_;           // guarded by mutex_, except for Keys()
  std::vector<uint64_t> losses_;  // rank losses seen, by replica; guarded by mutex_
  size_t next_ = 0;               // whose turn it is; guarded by mutex_
};

}  // namespace

std::unique_ptr<Engine> MakeReplicatedEngine(std::vector<std::unique_ptr<Engine>> replicas,
                                             const RouterOptions& options, EntropySource& entropy) {
  INFERD_CHECK(!replicas.empty() && replicas.size() <= static_cast<size_t>(kMaxReplicas));
  INFERD_CHECK(options.block_size > 0);
  const HashKey key{entropy.Next64(), entropy.Next64()};
  return std::make_unique<ReplicatedEngine>(std::move(replicas), options, key);
}

}  // namespace inferd
