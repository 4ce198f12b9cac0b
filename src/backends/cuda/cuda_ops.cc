#include "backends/cuda/cuda_ops.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backends/cuda/cuda_weights.h"
#include "backends/cuda/nccl_group.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cuda/linear.h"
#include "cuda/rope_kv.h"
#include "cuda/rows.h"

namespace inferd {
namespace {

// bf16 numbers whose sum is an f32, but for the last bits of subnormals.
constexpr int kExactTerms = 3;

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

int32_t NumRows(const TensorView& x) { return static_cast<int32_t>(x.dim(0)); }

const CudaStepPlan& StepOf(const StepPlan& plan) { return static_cast<const CudaStepPlan&>(plan); }

}  // namespace

StatusOr<std::unique_ptr<CudaOps>> CudaOps::Create(const BackendOptions& options) {
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Device> device, Device::Open(options.device));
  const int terms = options.activations == Activations::kF32 ? kExactTerms : 1;
  std::unique_ptr<CudaOps> ops(new CudaOps(std::move(device), terms, options.graphs));
  INFERD_ASSIGN_OR_RETURN(ops->library_,
                          LibraryGemm::Create(*ops->device_, options.tuning_directory));
  for (Sealed& step : ops->sealed_) {
    INFERD_ASSIGN_OR_RETURN(step.done, StreamMark::Create());
    INFERD_ASSIGN_OR_RETURN(step.bad_token, PinnedBuffer::Create(sizeof(int32_t)));
  }
  return ops;
}

CudaOps::CudaOps(std::unique_ptr<Device> device, int terms, bool use_graphs)
    : device_(std::move(device)), terms_(terms), sampler_(*device_), use_graphs_(use_graphs) {}

CudaOps::~CudaOps() {
  device_->Use();
  (void)device_->Wait();
}

// ---- memory ----

void CudaOps::Fill(void* data, uint8_t value, size_t bytes) {
  EndOps();
  device_->Fill(data, value, bytes);
}

void CudaOps::CopyIn(void* data, const void* host, size_t bytes) {
  EndOps();
  device_->CopyIn(data, host, bytes);
}

Status CudaOps::CopyOut(void* host, const void* data, size_t bytes) {
  // The outputs of steps under way are taken by FinishStep only.
  if (num_sealed_ == 0) INFERD_RETURN_IF_ERROR(Finish());
  EndOps();
  return device_->CopyOut(host, data, bytes);
}

// ---- at load ----

bool CudaOps::Supports(WeightFormat /*format*/) const { return true; }

StatusOr<LinearWeight> CudaOps::Pack(std::span<const RawLinear> parts,
                                     std::span<const TensorView> bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, DescribeLinear(parts, bias));
  const PackedForm form = FormOf(weight);
  if (form.row_bytes > static_cast<int64_t>(Device::kSlotBytes) ||
      weight.out_features > INT32_MAX || weight.in_features > INT32_MAX) {
    return InvalidArgumentError("a matrix of this size is not taken by the GPU's kernels");
  }
  INFERD_ASSIGN_OR_RETURN(weight.packed, Buffer::Create(*device_, static_cast<size_t>(form.bytes)));
  device_->CopyMade(weight.packed.data(), static_cast<size_t>(form.value_bytes()),
                    static_cast<size_t>(form.row_bytes),
                    [&](std::byte* to, size_t first, size_t count) {
                      const auto unit = static_cast<size_t>(form.row_bytes);
                      WritePackedRows(parts, weight, static_cast<int64_t>(first / unit),
                                      static_cast<int64_t>(count / unit), to);
                    });
  if (form.bytes > form.scales_at) {
    std::vector<std::byte> tail(static_cast<size_t>(form.bytes - form.scales_at));
    WritePackedTail(parts, weight, tail.data());
    device_->CopyIn(weight.packed.data() + form.scales_at, tail.data(), tail.size());
  }
  if (!bias.empty()) {
    HostAllocator host;
    INFERD_ASSIGN_OR_RETURN(const Buffer joined, JoinBias(bias, host));
    INFERD_ASSIGN_OR_RETURN(weight.bias, Buffer::Create(*device_, joined.size()));
    device_->CopyIn(weight.bias.data(), joined.data(), joined.size());
  }
  INFERD_RETURN_IF_ERROR(device_->Wait());
  NoteShape(weight);
  return weight;
}

StatusOr<VectorWeight> CudaOps::PackVector(const TensorView& host) {
  HostAllocator allocator;
  INFERD_ASSIGN_OR_RETURN(const VectorWeight values, VectorToF32(host, allocator));
  VectorWeight weight;
  weight.size = values.size;
  INFERD_ASSIGN_OR_RETURN(weight.data, Buffer::Create(*device_, values.data.size()));
  device_->CopyIn(weight.data.data(), values.data.data(), values.data.size());
  return weight;
}

StatusOr<EmbeddingTable> CudaOps::PackEmbedding(const TensorView& host) {
  INFERD_ASSIGN_OR_RETURN(EmbeddingTable table, BorrowEmbedding(host));
  const auto bytes = static_cast<size_t>(host.NumBytes());
  INFERD_ASSIGN_OR_RETURN(table.owned, Buffer::Create(*device_, bytes));
  device_->CopyIn(table.owned.data(), host.data, bytes);
  table.view.data = table.owned.data();
  return table;
}

StatusOr<Buffer> CudaOps::Upload(std::span<const float> host) {
  INFERD_ASSIGN_OR_RETURN(Buffer buffer, Buffer::Create(*device_, host.size_bytes()));
  device_->CopyIn(buffer.data(), host.data(), host.size_bytes());
  return buffer;
}

std::unique_ptr<StepPlan> CudaOps::MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                                int32_t max_blocks_per_sequence) {
  device_->Use();
  max_sequences_ = std::max(max_sequences_, max_sequences);
  sampler_.PrepareSlots(max_sequences_);
  auto plan =
      std::make_unique<CudaStepPlan>(*device_, max_tokens, max_sequences, max_blocks_per_sequence);
  if (bad_token_.size() == 0) {
    auto flag = Buffer::Create(*device_, sizeof(int32_t));
    if (flag.ok()) {
      bad_token_ = std::move(*flag);
      Fill(bad_token_.data(), 0, sizeof(int32_t));
    } else {
      device_->Fail(flag.status());
    }
  }
  return plan;
}

// The table is copied. Rows are padded to 64 bytes and parts to ArenaMap::kUnit, which
// is little beside matrices of a size worth a GPU; the library has its workspace, a step
// plan its words.
int64_t CudaOps::OverheadBytes(int64_t bytes, int64_t embedding_bytes) const {
  constexpr int64_t kFixed = int64_t{32} << 20;
  constexpr int64_t kPaddingShare = 128;
  return embedding_bytes + static_cast<int64_t>(LibraryGemm::kWorkspaceBytes) + kFixed +
         (bytes + embedding_bytes) / kPaddingShare;
}

Status CudaOps::Reserve(int64_t bytes) { return device_->Reserve(static_cast<size_t>(bytes)); }

void CudaOps::SetScratch(TensorView scratch) {
  scratch_ = scratch;
  TuneProducts();
}

// ---- per step ----

bool CudaOps::Begins(Op op, std::initializer_list<TensorView> tensors, const void* weight,
                     std::initializer_list<int64_t> numbers) {
  if (graphs_ == nullptr) return Running();
  const auto address = [](const void* data) { return reinterpret_cast<uint64_t>(data); };
  bool launch = graphs_->Next({static_cast<uint64_t>(op), address(weight)});
  for (const TensorView& x : tensors) {
    launch = graphs_->Next(
        {address(x.data), static_cast<uint64_t>(x.dim(0)), static_cast<uint64_t>(x.dim(1))});
  }
  for (const int64_t number : numbers) launch = graphs_->Next({static_cast<uint64_t>(number)});
  return launch;
}

void CudaOps::PlanStep(const StepInputs& inputs, StepPlan* plan) {
  EndOps();
  device_->Use();
  auto& step = *static_cast<CudaStepPlan*>(plan);
  if (!Running()) return step.Set(inputs);  // for the shapes of what will not be done
  if (!use_graphs_ || !CudaStepPlan::IsDecode(inputs)) return step.Plan(inputs, inputs.num_tokens);
  const int32_t limit = std::min(step.max_tokens(), step.max_sequences());
  const int32_t rows = DecodeBucket(inputs.num_tokens, limit);
  step.Plan(inputs, rows);
  graphs_ = &step.graphs();
  graphs_->Begin(rows);
}

void CudaOps::Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) {
  const CudaStepPlan& step = StepOf(plan);
  CheckRows(out, step.num_tokens(), table.view.dim(1));
  embedded_ = true;
  if (!Begins(Op::kEmbed, {out}, table.view.data)) return;
  Launched(cuda::Embed({.ids = step.ids(),
                        .table = RowsOf(table.view),
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
  const auto bytes = [](int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); };
  device_->Check(cudaMemcpy2DAsync(to.As<float>() + to_column, bytes(to.dim(1)),
                                   from.As<float>() + from_column, bytes(from.dim(1)),
                                   bytes(columns), static_cast<size_t>(from.dim(0)),
                                   cudaMemcpyDeviceToDevice, device_->stream()),
                 "copying columns");
}

StatusOr<std::unique_ptr<DeviceGroup>> CudaOps::MakeGroup(Communicator& host,
                                                          const DeviceGroupOptions& options,
                                                          const Clock& clock) {
  if (nccl_ == nullptr) {
    INFERD_ASSIGN_OR_RETURN(nccl_, nccl::Open());
    watch_ = std::make_unique<GroupWatch>(nccl_, options, clock);
    device_->SetWaiter(watch_.get());
  }
  return std::unique_ptr<DeviceGroup>(
      std::make_unique<NcclGroup>(*this, nccl_, *watch_, host, options, clock));
}

bool CudaOps::BeginsCollective(std::initializer_list<uint64_t> what) {
  if (graphs_ == nullptr) return Running();
  (void)graphs_->Next({static_cast<uint64_t>(Op::kCollective)});
  return graphs_->Next(what);
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

int64_t CudaOps::ScratchBytes(int32_t max_tokens, int32_t /*max_sequences*/, int64_t max_features,
                              int64_t /*vocab_size*/) const {
  // Rows are widest as bf16 terms, which those for FP8 weights pad more. Scales of groups
  // of 32 take an eighth of a byte an input.
  const int64_t scales = max_features / 8 + static_cast<int64_t>(sizeof(float));
  const int64_t row = std::max({terms_ * 2 * cuda::Fp8RowBytes(max_features),
                                2 * cuda::Fp8RowBytes(max_features) + scales,
                                2 * cuda::Int4RowBytes(max_features)});
  return max_tokens * row + 4 * static_cast<int64_t>(ArenaMap::kUnit);
}

void CudaOps::SealStep() {
  EndOps();
  INFERD_CHECK(num_sealed_ < sealed_.size());
  Sealed& step = sealed_[(oldest_sealed_ + num_sealed_++) % sealed_.size()];
  step.embedded = std::exchange(embedded_, false);
  step.sampled = std::exchange(sampled_, false);
  if (step.embedded) {
    device_->Copy(step.bad_token.data(), bad_token_.data(), sizeof(int32_t),
                  cudaMemcpyDeviceToHost);
    device_->Fill(bad_token_.data(), 0, sizeof(int32_t));
  }
  device_->Mark(step.done);
}

bool CudaOps::PlanPreparing(StepPlan* plan) {
  EndOps();
  device_->Use();
  auto& step = *static_cast<CudaStepPlan*>(plan);
  if (!use_graphs_ || !Running()) return false;
  const int32_t rows =
      step.graphs().NextToRecord(std::min(step.max_tokens(), step.max_sequences()));
  if (rows == 0) return false;
  step.PlanPadding(rows);
  graphs_ = &step.graphs();
  graphs_->BeginRecording(rows);
  return true;
}

void CudaOps::EndPreparing() {
  EndOps();
  embedded_ = false;
}

bool CudaOps::StepIsDone() {
  INFERD_CHECK(num_sealed_ > 0);
  return device_->IsDone(sealed_[oldest_sealed_].done);
}

Status CudaOps::FinishStep() {
  INFERD_CHECK(num_sealed_ > 0);
  Sealed& step = sealed_[oldest_sealed_];
  oldest_sealed_ = (oldest_sealed_ + 1) % sealed_.size();
  --num_sealed_;
  device_->WaitFor(step.done);
  if (step.sampled) sampler_.Finish(Running());
  if (!Running()) return device_->error();
  int32_t bad = 0;
  if (step.embedded) std::memcpy(&bad, step.bad_token.data(), sizeof(bad));
  return bad == 0 ? OkStatus() : InternalError("token id outside the embedding table");
}

Status CudaOps::Finish() {
  EndOps();
  Status first;
  const auto finish_step = [&] {
    if (Status status = FinishStep(); first.ok()) first = std::move(status);
  };
  while (num_sealed_ == sealed_.size()) finish_step();
  if (embedded_ || sampled_) SealStep();
  while (num_sealed_ > 0) finish_step();
  const Status status = device_->Wait();
  return first.ok() ? status : first;
}

}  // namespace inferd
