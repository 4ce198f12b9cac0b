#pragma once

#include <memory>
#include <vector>

#include "inferd/model/model.h"
#include "inferd/ops/ops.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"
#include "inferd/runtime/rank.h"
#include "runtime/kv_store.h"
#include "runtime/seq_table.h"
#include "runtime/step_builder.h"
#include "runtime/sum_links.h"
#include "runtime/timed_link.h"

namespace inferd::runtime {

struct RunnerOptions {
  DType kv_dtype = DType::kBF16;
  bool compare_tokens = false;  // RankOptions::compare_tokens
};

// A rank: takes plans, runs its part of the model, samples, answers.
class ModelRunner final : public Rank {
 public:
  // `ops`, `clock` and the links outlive the runner. The model has the links already, those
  // of `sums` and with `pipeline`, which may be null, for the one to other stages.
  static StatusOr<std::unique_ptr<ModelRunner>> Create(std::unique_ptr<Model> model, RankInfo info,
                                                       const RankLinks& links,
                                                       const RankLimits& limits,
                                                       const RunnerOptions& options, Ops& ops,
                                                       const Clock& clock, SumLinks sums,
                                                       std::unique_ptr<TimedLink> pipeline);

  StepResult Run(const BatchPlan& plan) override;
  Status WarmUp() override;
  const RankInfo& info() const override { return info_; }

 private:
  ModelRunner(std::unique_ptr<Model> model, RankInfo info, const RankLinks& links,
              const RankLimits& limits, const RunnerOptions& options, Ops& ops, const Clock& clock,
              SumLinks sums, std::unique_ptr<TimedLink> pipeline);
  Status RunStep(const BatchPlan& plan, StepResult* result);
  Status TakeSamples(StepResult* result);
  Status CompareTokens();

  const RankInfo info_;
  const RankLinks links_;
  const RankLimits limits_;
  const RunnerOptions options_;
  Ops& ops_;
  const Clock& clock_;
  SumLinks sums_;
  const std::unique_ptr<TimedLink> pipeline_;
  std::unique_ptr<Model> model_;
  Workspace workspace_;
  Buffer scratch_;
  KvStore kv_;
  std::unique_ptr<StepPlan> step_plan_;
  std::unique_ptr<SeqTable> sequences_;
  StepBuilder builder_;
  std::vector<SampleOutput> drawn_;    // [max_running], reused
  std::vector<TokenId> drawn_by_all_;  // [tp, rows], reused
};

}  // namespace inferd::runtime
