#pragma once

#include <memory>
#include <vector>

#include "inferd/model/model.h"
#include "inferd/ops/ops.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"
#include "inferd/runtime/rank.h"
#include "runtime/kv_store.h"
#include "runtime/pipeline_links.h"
#include "runtime/seq_table.h"
#include "runtime/step_builder.h"
#include "runtime/sum_links.h"

namespace inferd::runtime {

struct RunnerOptions {
  DType kv_dtype = DType::kBF16;
  bool compare_tokens = false;  // RankOptions::compare_tokens
};

// A rank: takes plans, runs its part of the model, samples, answers.
class ModelRunner final : public Rank {
 public:
  // `ops`, `clock` and the links outlive the runner. The model has the links already, those
  // of `sums` and with `pipeline`, which may be null, for those to other stages.
  static StatusOr<std::unique_ptr<ModelRunner>> Create(std::unique_ptr<Model> model, RankInfo info,
                                                       const RankLinks& links,
                                                       const RankLimits& limits,
                                                       const RunnerOptions& options, Ops& ops,
                                                       const Clock& clock, SumLinks sums,
                                                       std::unique_ptr<PipelineLinks> pipeline);

  void Begin(const BatchPlan& plan) override;
  StepResult End() override;
  bool IsDone() override;
  // The ops' own, unless a step ends with messages between ranks: those need the same
  // order on all of them, and which steps overlap differs.
  int MaxSteps() const override { return max_steps_; }
  // Steps are prepared, where the ops do so. Not in a group, whose ranks would have to do it
  // together.
  bool Tend() override;
  Status WarmUp() override;
  const RankInfo& info() const override { return info_; }

 private:
  ModelRunner(std::unique_ptr<Model> model, RankInfo info, const RankLinks& links,
              const RankLimits& limits, const RunnerOptions& options, Ops& ops, const Clock& clock,
              SumLinks sums, std::unique_ptr<PipelineLinks> pipeline);
  // A plan that has begun. Reused.
  struct Step {
    StepId id = 0;
    Status error;                     // of its beginning
    bool computes = false;            // the ops have something to finish
    int64_t own_us = 0;               // spent in Begin, messages of the pipeline left out
    std::vector<SlotId> slots;        // whose tokens are drawn
    std::vector<int32_t> positions;   // of these tokens in their histories
    std::vector<SampleOutput> drawn;  // [max_running]
  };
  Status BeginStep(const BatchPlan& plan, Step* step);
  Status EndStep(Step& step, StepResult* result);
  Status TakeSamples(const Step& step, StepResult* result);
  Status CompareTokens(const Step& step);
  int64_t OwnUs() const { return clock_.NowUs() - (pipeline_ ? pipeline_->waited_us() : 0); }

  RankInfo info_;  // not written any more once it is made
  const RankLinks links_;
  const RankLimits limits_;
  const RunnerOptions options_;
  Ops& ops_;
  const Clock& clock_;
  SumLinks sums_;
  const std::unique_ptr<PipelineLinks> pipeline_;
  std::unique_ptr<Model> model_;
  Workspace workspace_;
  Buffer scratch_;
  KvStore kv_;
  std::unique_ptr<StepPlan> step_plan_;
  std::unique_ptr<SeqTable> sequences_;
  StepBuilder builder_;
  const int max_steps_;
  std::vector<Step> steps_;  // [max_steps_], a ring
  size_t oldest_ = 0;
  size_t num_steps_ = 0;               // that have begun and not ended
  std::vector<TokenId> drawn_by_all_;  // [tp, rows], reused
};

}  // namespace inferd::runtime
