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

namespace inferd::runtime {

// A rank: takes plans, runs its part of the model, samples, answers.
class ModelRunner final : public Rank {
 public:
  // `ops` and the links outlive the runner.
  static StatusOr<std::unique_ptr<ModelRunner>> Create(std::unique_ptr<Model> model, RankInfo info,
                                                       const RankLinks& links,
                                                       const RankLimits& limits, DType kv_dtype,
                                                       Ops& ops);

  StepResult Run(const BatchPlan& plan) override;
  Status WarmUp() override;
  const RankInfo& info() const override { return info_; }

 private:
  ModelRunner(std::unique_ptr<Model> model, RankInfo info, const RankLinks& links,
              const RankLimits& limits, Ops& ops);
  Status RunStep(const BatchPlan& plan, StepResult* result);
  Status TakeSamples(StepResult* result);

  const RankInfo info_;
  const RankLinks links_;
  const RankLimits limits_;
  Ops& ops_;
  std::unique_ptr<Model> model_;
  Workspace workspace_;
  Buffer scratch_;
  KvStore kv_;
  std::unique_ptr<StepPlan> step_plan_;
  std::unique_ptr<SeqTable> sequences_;
  StepBuilder builder_;
  std::vector<SampleOutput> drawn_;  // [max_running], reused
};

}  // namespace inferd::runtime
