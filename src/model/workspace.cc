#include <algorithm>

#include "inferd/model/model.h"

namespace inferd {
namespace {

constexpr int64_t kAlignment = 64;  // bytes

}  // namespace

int64_t MaxFeatures(const ModelShard& shard) {
  ModelConfig config = shard.local;
  if (shard.place.shape.shard_weights) config = shard.whole;
  const int64_t heads = int64_t{config.num_heads} + 2 * int64_t{config.num_kv_heads};
  return std::max({int64_t{config.hidden_size}, heads * config.head_dim,
                   2 * int64_t{config.intermediate_size}});
}

Workspace::Layout Workspace::Arrange(const ModelShard& shard, const StepLimits& limits) {
  const ModelConfig& config = shard.local;
  const ParallelShape& shape = shard.place.shape;
  // Shared out, with padding.
  const int sharers = shape.shard_weights ? shape.tp() : 1;
  const int64_t share = (limits.max_tokens + sharers - 1) / sharers;
  const int64_t rows = share * sharers;
  const int64_t samples = std::min(limits.max_sample_rows, limits.max_tokens);
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv = int64_t{config.num_kv_heads} * config.head_dim;
  int64_t at = 0;
  const auto place = [&at](int64_t part_rows, int64_t features) {
    const Part part{at, part_rows, features};
    at += part_rows * features * DTypeSize(DType::kF32);
    at = (at + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  };
  Layout layout;
  layout.residual = place(rows, config.hidden_size);
  layout.normed = place(rows, config.hidden_size);
  layout.projected = place(rows, config.hidden_size);
  layout.sampled_in = place(samples, q);
  layout.sampled_res = place(samples, config.hidden_size);
  const int64_t shared = at;
  layout.attended = place(rows, q);
  if (shape.shard_weights) {
    const int64_t all_q = int64_t{shard.whole.num_heads} * config.head_dim;
    const int64_t all_kv = int64_t{shard.whole.num_kv_heads} * config.head_dim;
    layout.qkv = place(share, all_q + 2 * all_kv);
    layout.head_shares = place(rows, q + 2 * kv);
    layout.head_qkv = place(rows, q + 2 * kv);
    layout.attended_shares = place(rows, q);
    layout.attended_rows = place(share, all_q);
  } else {
    layout.qkv = place(rows, q + 2 * kv);
  }
  const int64_t attention_end = at;
  at = shared;
  layout.gate_up = place(share, 2 * int64_t{config.intermediate_size});
  layout.activated = place(share, config.intermediate_size);
  at = std::max(at, attention_end);
  if (shape.tp_columns > 1) {
    const int64_t features = config.hidden_size / shape.tp_columns;
    layout.hidden_share = place(rows, features);
    layout.hidden_parts = place(rows * shape.tp_columns, features);
  }
  if (shard.place.last_stage()) {
    layout.logits = place(samples, config.vocab_size);
    if (shape.tp() > 1) layout.logit_shares = place(samples * shape.tp(), shard.vocab_share);
  }
  layout.bytes = at;
  return layout;
}

int64_t Workspace::Bytes(const ModelShard& shard, const StepLimits& limits) {
  return Arrange(shard, limits).bytes;
}

StatusOr<Workspace> Workspace::Create(const ModelShard& shard, const StepLimits& limits,
                                      Allocator& allocator) {
  Workspace workspace;
  workspace.layout_ = Arrange(shard, limits);
  INFERD_ASSIGN_OR_RETURN(
      workspace.memory_,
      Buffer::Create(allocator, static_cast<size_t>(workspace.layout_.bytes), kAlignment));
  return workspace;
}

TensorView Workspace::View(const Part& part, int64_t rows) const {
  INFERD_CHECK(rows >= 0 && rows <= part.rows);
  return TensorView(memory_.data() + part.offset, DType::kF32, {rows, part.features});
}

TensorView Workspace::Residual(int64_t rows) const { return View(layout_.residual, rows); }
TensorView Workspace::Normed(int64_t rows) const { return View(layout_.normed, rows); }
TensorView Workspace::Projected(int64_t rows) const { return View(layout_.projected, rows); }
TensorView Workspace::Qkv(int64_t rows) const { return View(layout_.qkv, rows); }
TensorView Workspace::Attended(int64_t rows) const { return View(layout_.attended, rows); }
TensorView Workspace::GateUp(int64_t rows) const { return View(layout_.gate_up, rows); }
TensorView Workspace::Activated(int64_t rows) const { return View(layout_.activated, rows); }
TensorView Workspace::SampledIn(int64_t rows) const { return View(layout_.sampled_in, rows); }
TensorView Workspace::SampledRes(int64_t rows) const { return View(layout_.sampled_res, rows); }
TensorView Workspace::Logits(int64_t rows) const { return View(layout_.logits, rows); }
TensorView Workspace::LogitShares(int64_t rows) const { return View(layout_.logit_shares, rows); }
TensorView Workspace::HiddenShare(int64_t rows) const { return View(layout_.hidden_share, rows); }
TensorView Workspace::HiddenParts(int64_t rows) const { return View(layout_.hidden_parts, rows); }
TensorView Workspace::HeadShares(int64_t rows) const { return View(layout_.head_shares, rows); }
TensorView Workspace::HeadQkv(int64_t rows) const { return View(layout_.head_qkv, rows); }
TensorView Workspace::AttendedShares(int64_t rows) const {
  return View(layout_.attended_shares, rows);
}
TensorView Workspace::AttendedRows(int64_t rows) const { return View(layout_.attended_rows, rows); }

}  // namespace inferd
