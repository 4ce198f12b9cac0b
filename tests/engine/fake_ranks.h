#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/toy_model.h"
#include "inferd/exec/executor.h"
#include "inferd/plan/plan_checker.h"

namespace inferd::testing {

// Ranks with a simulated KV memory, driven only by plans. The entries of submitted
// plans run at random moments between Submit and Await and, where no token passes
// from one to the other, in any order across plans: what no host may rely on does
// not hold here. Single-threaded.
class FakeRanks final : public Executor {
 public:
  enum class Order : uint8_t {
    kInOrder,      // everything of a plan before anything of the next
    kRandom,       // any entry that could run
    kNewestFirst,  // later plans overtake wherever they can
  };
  struct Options {
    PlanLimits limits;
    int depth = 1;
    Order order = Order::kRandom;
    uint64_t seed = 0;
    bool check_plans = true;  // answer a plan that breaks the contract with an error
    // As the first stage of a pipeline: tokens drawn are known only from the plans.
    bool tokens_from_plans = false;
    ToyModel model;
    // KV content also depends on this function of a sequence's seed, as it would on
    // an adapter: prefixes with different salts must not be shared.
    std::function<uint64_t(uint64_t)> salt;
    // The ranks die now and then, with or without work, and take a while to come back
    // with an empty memory. 0: never.
    uint64_t die_one_in = 0;
    // They die of any plan that names the sequence of this seed. 0: of none.
    uint64_t poison_seed = 0;
  };

  explicit FakeRanks(const Options& options);

  void Submit(std::shared_ptr<const BatchPlan> plan) override;
  StepResult Await() override;
  int max_in_flight() const override { return options_.depth; }
  // May die, or come back, at any look.
  ExecutorState state() const override { return state_; }
  bool Reset() override;
  // Time passes: what died may come back, what lives may die.
  void Tick();

  // Since the ranks were last started, as all below.
  const std::vector<std::shared_ptr<const BatchPlan>>& log() const { return log_; }
  uint64_t num_plans() const { return num_plans_; }
  uint64_t num_deaths() const { return num_deaths_; }
  // Whether the ranks drew other tokens than `other` did for the same plans.
  bool HistoriesDiffer(const FakeRanks& other) const { return drawn_ != other.drawn_; }
  // The first broken rule of a plan.
  const Status& violation() const { return violation_; }

 private:
  struct Sequence {
    std::vector<TokenId> history;
    std::vector<BlockId> table;
    uint64_t seed = 0;
    uint64_t salt = 0;
    int32_t entries_given = 0;
    int32_t entries_run = 0;
  };
  struct Work {
    StepEntry entry;
    std::shared_ptr<Sequence> sequence;
    int32_t number = 0;  // of the sequence's entries
    bool done = false;
    StepOutput output;
  };
  struct Step {
    std::shared_ptr<const BatchPlan> plan;
    std::vector<Work> work;
    size_t num_done = 0;
  };

  uint64_t Random(uint64_t below);
  void FillMemory();
  void Die() {
    state_ = ExecutorState::kLost;
    ++num_deaths_;
  }
  uint64_t& Kv(const Sequence& sequence, int32_t position);
  // Runs one entry of `step` that can run, beginning the search anywhere.
  bool RunOne(Step& step);
  void RunAhead();
  void Run(Step& step, Work& work);

  const Options options_;
  ExecutorState state_ = ExecutorState::kReady;
  uint64_t num_plans_ = 0;
  uint64_t num_deaths_ = 0;
  std::optional<PlanChecker> checker_;
  Status violation_;
  uint64_t random_;
  std::vector<uint64_t> kv_;  // [num_blocks, block_size]
  std::vector<std::shared_ptr<Sequence>> slots_;
  std::deque<Step> steps_;
  std::vector<std::shared_ptr<const BatchPlan>> log_;
  std::vector<TokenId> drawn_;  // in the order of plans and entries
};

}  // namespace inferd::testing
