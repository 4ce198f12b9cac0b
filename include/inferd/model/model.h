#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/model/packed_cache.h"
#include "inferd/ops/ops.h"

namespace inferd {

// The largest step a model is asked to run.
struct StepLimits {
  int32_t max_tokens = 0;       // rows of one step
  int32_t max_sample_rows = 0;  // of these, rows whose logits are wanted
  int32_t max_positions = 0;    // tokens of one sequence
};

// The widest row of any op, for Ops::ScratchBytes.
int64_t MaxFeatures(const ModelConfig& config);

// The activations of one step, allocated once. The parts of attention and of
// the MLP share their memory: they are never live together.
class Workspace {
 public:
  static int64_t Bytes(const ModelConfig& config, const StepLimits& limits);
  static StatusOr<Workspace> Create(const ModelConfig& config, const StepLimits& limits,
                                    Allocator& allocator);

  // Views for a step of `rows` rows, f32; capacities are the limits'.
  TensorView Residual(int64_t rows) const;    // [rows, hidden]
  TensorView Normed(int64_t rows) const;      // [rows, hidden]
  TensorView Projected(int64_t rows) const;   // [rows, hidden]
  TensorView Qkv(int64_t rows) const;         // [rows, (hq + 2 hk) * d]
  TensorView Attended(int64_t rows) const;    // [rows, hq * d]
  TensorView GateUp(int64_t rows) const;      // [rows, 2 ffn]
  TensorView Activated(int64_t rows) const;   // [rows, ffn]
  TensorView SampledIn(int64_t rows) const;   // [rows, hq * d], of the sample rows
  TensorView SampledRes(int64_t rows) const;  // [rows, hidden], of the sample rows
  TensorView Logits(int64_t rows) const;      // [rows, vocab]

 private:
  struct Part {
    int64_t offset = 0;  // bytes
    int64_t rows = 0;
    int64_t features = 0;
  };
  struct Layout {
    Part residual, normed, projected, qkv, attended, gate_up, activated, sampled_in, sampled_res,
        logits;
    int64_t bytes = 0;
  };
  static Layout Arrange(const ModelConfig& config, const StepLimits& limits);
  TensorView View(const Part& part, int64_t rows) const;

  Layout layout_;
  Buffer memory_;
};

// A loaded model. The rank thread.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;
  // Enqueues one step: the layers over the plan's rows, with their keys and
  // values appended to `kv` (one per layer). Returns the logits of the plan's
  // sample rows, [num_sample_rows, vocab], in the workspace; an empty view when
  // there are none. Errors stick in `ops` until its Finish.
  virtual TensorView Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                             const Workspace& workspace) const = 0;
};

// Packs the weights for `ops`. The checkpoint has been checked against the
// configuration (PlanMemory); what the backend borrows from it stays mapped for
// the life of the model, the rest is unmapped. With a cache weights that an earlier
// start kept there are mapped instead, bit for bit the same, and if there are none,
// are kept while the model is in use. `ops` outlives the model.
StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config, Checkpoint checkpoint,
                                           const StepLimits& limits, Ops& ops,
                                           const PackedCacheOptions& cache = {});

}  // namespace inferd
