#include "runtime/model_runner.h"

#include <string>
#include <utility>

#include "inferd/base/check.h"

namespace inferd::runtime {

ModelRunner::ModelRunner(std::unique_ptr<Model> model, RankInfo info, const RankLinks& links,
                         const RankLimits& limits, const RunnerOptions& options, Ops& ops,
                         const Clock& clock, SumLinks sums, std::unique_ptr<PipelineLinks> pipeline)
    : info_(std::move(info)),
      links_(links),
      limits_(limits),
      options_(options),
      ops_(ops),
      clock_(clock),
      sums_(std::move(sums)),
      pipeline_(std::move(pipeline)),
      model_(std::move(model)),
      sequences_(std::make_unique<SeqTable>(limits)),
      builder_(limits),
      max_steps_(info_.place.shape.pp > 1 || options.compare_tokens ? 1 : ops.MaxSteps()),
      steps_(static_cast<size_t>(max_steps_)) {
  for (Step& step : steps_) step.drawn.resize(static_cast<size_t>(limits.max_running));
}

StatusOr<std::unique_ptr<ModelRunner>> ModelRunner::Create(
    std::unique_ptr<Model> model, RankInfo info, const RankLinks& links, const RankLimits& limits,
    const RunnerOptions& options, Ops& ops, const Clock& clock, SumLinks sums,
    std::unique_ptr<PipelineLinks> pipeline) {
  std::unique_ptr<ModelRunner> runner(new ModelRunner(std::move(model), std::move(info), links,
                                                      limits, options, ops, clock, std::move(sums),
                                                      std::move(pipeline)));
  const ModelShard& shard = runner->model_->shard();
  const ModelConfig& config = shard.local;
  const StepLimits step{limits.max_batched_tokens, limits.max_running, limits.max_model_len};
  Allocator* const exchanged = runner->sums_.memory();
  INFERD_ASSIGN_OR_RETURN(
      runner->workspace_,
      Workspace::Create(shard, step, exchanged != nullptr ? *exchanged : ops.allocator()));
  const int64_t scratch_bytes = ops.ScratchBytes(limits.max_batched_tokens, limits.max_running,
                                                 MaxFeatures(shard), config.vocab_size);
  INFERD_ASSIGN_OR_RETURN(runner->scratch_,
                          Buffer::Create(ops.allocator(), static_cast<size_t>(scratch_bytes)));
  ops.SetScratch(TensorView(runner->scratch_.data(), DType::kU8, {scratch_bytes}));
  const KvLayerSpec spec{config.num_kv_heads, config.head_dim, limits.block_size, options.kv_dtype};
  INFERD_ASSIGN_OR_RETURN(runner->kv_,
                          KvStore::Create(spec, config.num_layers, limits.num_blocks, ops));
  runner->step_plan_ = ops.MakeStepPlan(limits.max_batched_tokens, limits.max_running,
                                        limits.MaxBlocksPerSequence());
  runner->info_.device = ops.DescribeDevice();
  return runner;
}

void ModelRunner::Begin(const BatchPlan& plan) {
  INFERD_CHECK(num_steps_ < steps_.size());
  Step& step = steps_[(oldest_ + num_steps_++) % steps_.size()];
  step.id = plan.step;
  step.computes = false;
  step.slots.clear();
  step.positions.clear();
  const int64_t begin_us = OwnUs();
  step.error = BeginStep(plan, &step);
  step.own_us = OwnUs() - begin_us;
}

Status ModelRunner::BeginStep(const BatchPlan& plan, Step* step) {
  INFERD_RETURN_IF_ERROR(sequences_->Apply(plan));
  if (plan.entries.empty()) return OkStatus();
  kv_.Touch(plan.new_blocks);
  ops_.PlanStep(builder_.Build(plan, *sequences_), step_plan_.get());
  const auto forward = [this] {
    return model_->Forward(ops_, *step_plan_, kv_.layers(), workspace_);
  };
  INFERD_ASSIGN_OR_RETURN(TensorView logits, forward());
  if (ops_.MustNameAgain()) {
    INFERD_ASSIGN_OR_RETURN(logits, forward());
  }
  step->computes = true;
  const std::span<const SampleRow> rows = builder_.sample_rows();
  if (info_.place.last_stage() && !rows.empty()) {
    ops_.Sample(logits, rows, std::span(step->drawn).first(rows.size()));
    for (const SlotId slot : builder_.sample_slots()) {
      step->slots.push_back(slot);
      step->positions.push_back(static_cast<int32_t>(sequences_->at(slot).history.size()));
    }
  }
  // The rows point into the histories until then.
  ops_.SealStep();
  if (max_steps_ > 1) {
    for (const SlotId slot : step->slots) sequences_->Append(slot, SeqTable::kUnknownToken);
  }
  return OkStatus();
}

bool ModelRunner::IsDone() {
  INFERD_CHECK(num_steps_ > 0);
  const Step& step = steps_[oldest_];
  return !step.error.ok() || !step.computes || ops_.StepIsDone();
}

bool ModelRunner::Tend() {
  if (info_.place.shape.ranks() > 1 || !ops_.PlanPreparing(step_plan_.get())) return false;
  const Status status = model_->Forward(ops_, *step_plan_, kv_.layers(), workspace_).status();
  ops_.EndPreparing();
  return status.ok();
}

StepResult ModelRunner::End() {
  INFERD_CHECK(num_steps_ > 0);
  Step& step = steps_[oldest_];
  oldest_ = (oldest_ + 1) % steps_.size();
  --num_steps_;
  StepResult result;
  result.step = step.id;
  const int64_t begin_us = OwnUs();
  if (Status status = EndStep(step, &result); !status.ok()) {
    result.outputs.clear();
    result.top.clear();
    result.error = std::move(status);
    for (Communicator* link :
         {links_.tp, links_.row, links_.column, links_.previous, links_.next, links_.weights}) {
      if (link != nullptr) link->Abort();
    }
    sums_.Abort();
  } else if (pipeline_ != nullptr) {
    result.stage_us.resize(static_cast<size_t>(info_.place.shape.pp));
    result.stage_us[static_cast<size_t>(info_.place.pp_rank)] = step.own_us + OwnUs() - begin_us;
  }
  return result;
}

Status ModelRunner::EndStep(Step& step, StepResult* result) {
  INFERD_RETURN_IF_ERROR(step.error);
  if (!step.computes) return OkStatus();
  INFERD_RETURN_IF_ERROR(ops_.FinishStep());
  result->device_us = ops_.StepDeviceUs();
  if (!info_.place.last_stage()) return OkStatus();
  if (options_.compare_tokens && links_.tp != nullptr) INFERD_RETURN_IF_ERROR(CompareTokens(step));
  INFERD_RETURN_IF_ERROR(TakeSamples(step, result));
  if (!info_.place.answers()) {
    result->outputs.clear();
    result->top.clear();
  }
  return OkStatus();
}

Status ModelRunner::CompareTokens(const Step& step) {
  const std::vector<SlotId>& slots = step.slots;
  const auto ranks = static_cast<size_t>(links_.tp->world_size());
  drawn_by_all_.resize(ranks * slots.size());
  const auto of = [&](int rank) {
    return std::span(drawn_by_all_).subspan(static_cast<size_t>(rank) * slots.size(), slots.size());
  };
  const int own = links_.tp->rank();
  for (size_t i = 0; i < slots.size(); ++i) {
    of(own)[i] = step.drawn[i].corrupted ? TokenId{-1} : step.drawn[i].token;
  }
  INFERD_RETURN_IF_ERROR(links_.tp->AllGather(std::as_bytes(of(own)),
                                              std::as_writable_bytes(std::span(drawn_by_all_))));
  for (int rank = 0; rank < static_cast<int>(ranks); ++rank) {
    for (size_t i = 0; i < slots.size(); ++i) {
      if (of(rank)[i] == of(0)[i]) continue;
      return InternalError("the ranks drew different tokens for slot " + std::to_string(slots[i]) +
                           ": rank 0 " + std::to_string(of(0)[i]) + ", rank " +
                           std::to_string(rank) + " " + std::to_string(of(rank)[i]));
    }
  }
  return OkStatus();
}

Status ModelRunner::TakeSamples(const Step& step, StepResult* result) {
  result->outputs.reserve(step.slots.size());
  for (size_t i = 0; i < step.slots.size(); ++i) {
    const SlotId slot = step.slots[i];
    const SampleOutput& drawn = step.drawn[i];
    StepOutput output;
    output.slot = slot;
    output.corrupted = drawn.corrupted;
    if (!drawn.corrupted && (drawn.token < 0 || drawn.token >= limits_.vocab_size)) {
      return InternalError("the sampler drew a token outside the vocabulary");
    }
    // After a corrupted row positions stay in step with the scheduler's count; what this
    // token leads to is never shown, the sequence ends here.
    const TokenId token = drawn.corrupted ? TokenId{0} : drawn.token;
    if (max_steps_ > 1) {
      INFERD_RETURN_IF_ERROR(sequences_->Learn(slot, step.positions[i], token));
    } else {
      sequences_->Append(slot, token);
    }
    if (!drawn.corrupted) {
      output.token = drawn.token;
      if (sequences_->at(slot).sampling.logprobs >= 0) {
        output.logprob = drawn.logprob;
        output.first_top = static_cast<int32_t>(result->top.size());
        output.num_top = static_cast<int32_t>(drawn.top.size());
        for (const auto& [id, logprob] : drawn.top) result->top.push_back({id, logprob});
      }
    }
    result->outputs.push_back(output);
  }
  return OkStatus();
}

Status ModelRunner::WarmUp() {
  INFERD_RETURN_IF_ERROR(sums_.Choose());
  BatchPlan plan;
  AdmittedSequence sequence;
  sequence.slot = 0;
  sequence.num_tokens = 1;
  sequence.num_prompt = 1;
  sequence.sampling.temperature = 0.0F;
  plan.admitted.push_back(sequence);
  plan.tokens.push_back(0);
  plan.new_blocks.push_back(1);
  StepEntry entry;
  entry.slot = 0;
  entry.count = 1;
  entry.num_new_blocks = 1;
  entry.sample = 1;
  plan.entries.push_back(entry);
  const StepResult result = Run(plan);
  INFERD_RETURN_IF_ERROR(result.error);
  sequences_ = std::make_unique<SeqTable>(limits_);
  if (info_.place.answers() && result.outputs.front().corrupted) {
    return FailedPreconditionError("the model's logits are not finite: its weights are damaged");
  }
  return OkStatus();
}

}  // namespace inferd::runtime
