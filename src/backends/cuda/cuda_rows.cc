// Ops on rows of activations: embedding, norms, sums, SwiGLU, rotation and the cache's writes,
// copies.
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cuda/rope_kv.h"
#include "cuda/rows.h"

namespace inferd {
namespace {

cuda::Element ElementOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return cuda::Element::kBf16;
    case DType::kF16:
      return cuda::Element::kF16;
    default:
      INFERD_CHECK(dtype == DType::kF32);
      return cuda::Element::kF32;
  }
}

cuda::Rows RowsOf(const TensorView& x) { return {x.data, x.dim(1), ElementOf(x.dtype)}; }

// Those of a packed matrix are padded.
cuda::Rows RowsOf(const EmbeddingTable& table) {
  cuda::Rows rows = RowsOf(table.view);
  const DType dtype = table.view.dtype;
  if (table.packed) rows.stride = FloatRowBytes(dtype, rows.stride) / DTypeSize(dtype);
  return rows;
}

int32_t NumRows(const TensorView& x) { return static_cast<int32_t>(x.dim(0)); }

const CudaStepPlan& StepOf(const StepPlan& plan) { return static_cast<const CudaStepPlan&>(plan); }

}  // namespace

void CudaOps::Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) {
  const CudaStepPlan& step = StepOf(plan);
  CheckRows(out, step.num_tokens(), table.view.dim(1));
  embedded_ = true;
  if (!Begins(Op::kEmbed, {out}, table.view.data)) return;
  Launched(cuda::Embed({.ids = step.ids(),
                        .table = RowsOf(table),
                        .table_rows = table.view.dim(0),
                        .first_row = table.first_row,
                        .vocabulary = table.vocab_size > 0 ? table.vocab_size : table.view.dim(0),
                        .out = RowsOf(out),
                        .columns = out.dim(1),
                        .num_rows = NumRows(out),
                        .error = reinterpret_cast<int32_t*>(bad_token_.data()),
                        .drawn = sampler_.drawn(),
                        .num_drawn = sampler_.num_slots()},
                       device_->stream()),
           "the embedding");
}

void CudaOps::Norm(TensorView x, TensorView* y, const VectorWeight& weight, float eps,
                   TensorView out) {
  CheckRows(x, x.dim(0), weight.size);
  CheckRows(out, x.dim(0), weight.size);
  if (y != nullptr) CheckSameRows(x, *y);
  if (!Begins(Op::kNorm, {x, y != nullptr ? *y : x, out}, weight.data.data())) return;
  cuda::NormParams params;
  params.x = RowsOf(x);
  if (y != nullptr) params.y = RowsOf(*y);
  params.weight = Floats(weight.data);
  params.out = RowsOf(out);
  params.eps = eps;
  params.columns = weight.size;
  params.num_rows = NumRows(x);
  Launched(cuda::RmsNorm(params, device_->stream()), "a norm");
}

void CudaOps::RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) {
  Norm(x, nullptr, weight, eps, out);
}

void CudaOps::AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                         TensorView out) {
  Norm(x, &y, weight, eps, out);
}

void CudaOps::HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                          const VectorWeight& weight, float eps) {
  CheckHeads(x, first_head, num_heads, head_dim, weight);
  if (!Begins(Op::kHeadNorm, {x}, weight.data.data(), {first_head, num_heads, head_dim})) return;
  Launched(cuda::HeadRmsNorm({.x = RowsOf(x),
                              .weight = Floats(weight.data),
                              .eps = eps,
                              .first_head = first_head,
                              .num_heads = num_heads,
                              .head_dim = head_dim,
                              .num_rows = NumRows(x)},
                             device_->stream()),
           "a norm of heads");
}

void CudaOps::Add(TensorView x, TensorView y) {
  CheckSameRows(x, y);
  if (!Begins(Op::kAdd, {x, y})) return;
  Launched(
      cuda::AddRows({.x = RowsOf(x), .y = RowsOf(y), .columns = x.dim(1), .num_rows = NumRows(x)},
                    device_->stream()),
      "a sum");
}

void CudaOps::SiluMul(TensorView gate_up, TensorView out) {
  CheckGateUp(gate_up, out);
  if (!Begins(Op::kSilu, {gate_up, out})) return;
  cuda::SiluParams params;
  params.gate_up = RowsOf(gate_up);
  params.out = RowsOf(out);
  params.columns = out.dim(1);
  params.num_rows = NumRows(out);
  Launched(cuda::SiluMul(params, device_->stream()), "the activation");
}

void CudaOps::GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) {
  const CudaStepPlan& step = StepOf(plan);
  CheckRows(x, step.num_tokens(), x.dim(1));
  CheckRows(out, step.num_sample_rows(), x.dim(1));
  if (!Begins(Op::kGather, {x, out})) return;
  Launched(cuda::GatherRows({.source = step.samples(),
                             .x = RowsOf(x),
                             .out = RowsOf(out),
                             .columns = x.dim(1),
                             .num_rows = NumRows(out)},
                            device_->stream()),
           "gathering rows");
}

void CudaOps::CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                          int64_t columns) {
  CheckRows(from, from.dim(0), from.dim(1));
  CheckRows(to, from.dim(0), to.dim(1));
  INFERD_CHECK(from_column >= 0 && to_column >= 0 && columns >= 0);
  INFERD_CHECK(from_column + columns <= from.dim(1) && to_column + columns <= to.dim(1));
  if (columns == 0 || from.dim(0) == 0) return;
  if (!Begins(Op::kCopyColumns, {from, to}, nullptr, {from_column, to_column, columns})) return;
  Launched(cuda::CopyColumns({.from = RowsOf(from),
                              .to = RowsOf(to),
                              .from_column = from_column,
                              .to_column = to_column,
                              .columns = columns,
                              .num_rows = NumRows(from)},
                             device_->stream()),
           "copying columns");
}

cuda::KvCache CudaOps::CacheOf(const KvLayerView& kv) const {
  cuda::KvCache cache;
  cache.data = kv.data;
  cache.num_kv_heads = kv.spec.num_kv_heads;
  cache.head_dim = kv.spec.head_dim;
  cache.block_size = kv.spec.block_size;
  cache.type = kv.spec.dtype == DType::kF32      ? cuda::KvType::kF32
               : kv.spec.dtype == DType::kBF16   ? cuda::KvType::kBf16
               : kv.spec.dtype == DType::kF8E4M3 ? cuda::KvType::kE4m3
                                                 : cuda::KvType::kInt8;
  cache.block_bytes = cuda::KvBlockBytes(cache);
  return cache;
}

int64_t CudaOps::KvBytesPerBlock(const KvLayerSpec& spec) const {
  return CacheOf({nullptr, 0, spec}).block_bytes;
}

// Rotates the first `num_heads` heads of x where there is a table, and stores the keys
// and values behind `num_q_heads` heads where there is a cache.
void CudaOps::RotateAndStore(const StepPlan& plan, const RopeTable* table, TensorView x,
                             int32_t num_heads, int32_t num_q_heads, int32_t head_dim,
                             const KvLayerView* kv) {
  const CudaStepPlan& step = StepOf(plan);
  if (table != nullptr) CheckRope(step, *table, x, num_heads, head_dim);
  if (kv != nullptr) CheckQkv(step, x, num_q_heads, *kv);
  if (!Begins(Op::kRope, {x}, kv != nullptr ? kv->data : nullptr,
              {num_heads, num_q_heads, head_dim, table != nullptr ? table->rotary_dim : 0})) {
    return;
  }
  cuda::RopeKvParams params;
  params.qkv = RowsOf(x);
  params.positions = step.positions();
  params.row_sequence = step.sequences();
  params.block_tables = step.tables();
  params.table_stride = step.table_stride();
  if (table != nullptr) {
    params.cos = Floats(table->cos);
    params.sin = Floats(table->sin);
    params.rotary_dim = static_cast<int32_t>(table->rotary_dim);
    params.num_rotated = num_heads;
  }
  params.num_q_heads = num_q_heads;
  if (kv != nullptr) params.kv = CacheOf(*kv);
  params.kv.head_dim = head_dim;
  params.num_rows = NumRows(x);
  Launched(cuda::RopeKv(params, device_->stream()), "rotating and storing keys");
}

void CudaOps::Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
                   int32_t head_dim) {
  RotateAndStore(plan, &table, x, num_heads, num_heads, head_dim, nullptr);
}

void CudaOps::AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                       const KvLayerView& kv) {
  RotateAndStore(plan, nullptr, qkv, 0, num_q_heads, kv.spec.head_dim, &kv);
}

void CudaOps::RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                           int32_t num_q_heads, const KvLayerView& kv) {
  RotateAndStore(plan, &table, qkv, num_q_heads + kv.spec.num_kv_heads, num_q_heads,
                 kv.spec.head_dim, &kv);
}

}  // namespace inferd
