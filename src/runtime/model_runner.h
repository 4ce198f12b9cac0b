#pragma once

#include <memory>
#include <vector>

#include "inferd/model/model.h"
#include "inferd/ops/ops.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"
#include "runtime/kv_store.h"
#include "runtime/seq_table.h"
#include "runtime/step_builder.h"

namespace inferd::runtime {

// One rank: takes plans, runs the model, samples, answers. One thread.
class ModelRunner {
 public:
  // `ops` outlives the runner.
  static StatusOr<std::unique_ptr<ModelRunner>> Create(std::unique_ptr<Model> model,
                                                       const RankLimits& limits, DType kv_dtype,
                                                       Ops& ops);

  // Runs one plan to its end. A result with an error is the last one: the
  // rank's state is unknown.
  StepResult Run(const BatchPlan& plan);

  // One token through the model, to touch every weight once and see that the
  // logits are finite. Leaves no sequence behind.
  Status WarmUp();

  const SeqTable& sequences() const { return *sequences_; }

 private:
  ModelRunner(std::unique_ptr<Model> model, const RankLimits& limits, Ops& ops);
  Status RunStep(const BatchPlan& plan, StepResult* result);
  Status TakeSamples(StepResult* result);

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
