#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
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
    ToyModel model;
    // KV content also depends on this function of a sequence's seed, as it would on
    // an adapter: prefixes with different salts must not be shared.
    std::function<uint64_t(uint64_t)> salt;
  };

  explicit FakeRanks(const Options& options);

  void Submit(std::shared_ptr<const BatchPlan> plan) override;
  StepResult Await() override;
  int max_in_flight() const override { return options_.depth; }

  const std::vector<std::shared_ptr<const BatchPlan>>& log() const { return log_; }
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
  uint64_t& Kv(const Sequence& sequence, int32_t position);
  // Runs one entry of `step` that can run, beginning the search anywhere.
  bool RunOne(Step& step);
  void RunAhead();
  void Run(Step& step, Work& work);

  const Options options_;
  PlanChecker checker_;
  Status violation_;
  uint64_t random_;
  std::vector<uint64_t> kv_;  // [num_blocks, block_size]
  std::vector<std::shared_ptr<Sequence>> slots_;
  std::deque<Step> steps_;
  std::vector<std::shared_ptr<const BatchPlan>> log_;
  std::vector<TokenId> drawn_;  // in the order of plans and entries
};

}  // namespace inferd::testing
