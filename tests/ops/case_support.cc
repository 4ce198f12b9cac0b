#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "inferd/base/check.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

constexpr uint32_t kPoison = 0x7fc0dead;

bool IsPoison(float value) { return std::bit_cast<uint32_t>(value) == kPoison; }

}  // namespace

GuardedRows::GuardedRows(int64_t rows, int64_t columns, Ops* ops)
    : rows_(rows),
      columns_(columns),
      ops_(ops),
      memory_(static_cast<size_t>(rows * columns + 2 * kGuard), std::bit_cast<float>(kPoison)) {
  if (ops_ == nullptr) return;
  auto device = Buffer::Create(ops_->allocator(), memory_.size() * sizeof(float));
  INFERD_CHECK(device.ok());
  device_ = std::move(*device);
  Poison();
}

TensorView GuardedRows::view() {
  float* first = ops_ == nullptr ? memory_.data() : reinterpret_cast<float*>(device_.data());
  return {first + kGuard, DType::kF32, {rows_, columns_}};
}

void GuardedRows::Poison() {
  std::fill(memory_.begin(), memory_.end(), std::bit_cast<float>(kPoison));
  if (ops_ != nullptr) ops_->CopyIn(device_.data(), memory_.data(), device_.size());
}

void GuardedRows::Set(const std::vector<float>& values) {
  INFERD_CHECK(static_cast<int64_t>(values.size()) == rows_ * columns_);
  std::fill(memory_.begin(), memory_.end(), std::bit_cast<float>(kPoison));
  std::copy(values.begin(), values.end(), memory_.begin() + kGuard);
  if (ops_ != nullptr) ops_->CopyIn(device_.data(), memory_.data(), device_.size());
}

std::vector<float> GuardedRows::Read() const {
  if (ops_ == nullptr) return memory_;
  std::vector<float> all(memory_.size());
  INFERD_CHECK(ops_->CopyOut(all.data(), device_.data(), device_.size()).ok());
  return all;
}

std::vector<float> GuardedRows::Get() const {
  const std::vector<float> all = Read();
  return {all.begin() + kGuard, all.end() - kGuard};
}

bool GuardedRows::GuardsIntact() const {
  const std::vector<float> all = Read();
  for (int64_t i = 0; i < kGuard; ++i) {
    if (!IsPoison(all[i]) || !IsPoison(all[all.size() - 1 - i])) return false;
  }
  return true;
}

std::vector<float> RunOnRows(Ops& ops, const std::vector<float>& x, int64_t rows, int64_t columns,
                             const std::function<void(TensorView x, TensorView out)>& run) {
  GuardedRows in(rows, rows == 0 ? 0 : static_cast<int64_t>(x.size()) / rows, &ops);
  GuardedRows out(rows, columns, &ops);
  in.Set(x);
  run(in.view(), out.view());
  return out.Get();
}

GuardedRows& PreparedCase::AddRows(int64_t rows, int64_t columns, std::vector<float> initial,
                                   bool compared) {
  tensors_.push_back(
      {std::make_unique<GuardedRows>(rows, columns, &ops_), std::move(initial), compared});
  return *tensors_.back().rows;
}

void PreparedCase::UseScratch(int32_t max_tokens, int32_t max_sequences, int64_t max_features,
                              int64_t vocab) {
  const int64_t bytes = ops_.ScratchBytes(max_tokens, max_sequences, max_features, vocab);
  auto scratch = Buffer::Create(ops_.allocator(), static_cast<size_t>(bytes));
  INFERD_CHECK(scratch.ok());
  scratch_ = std::move(*scratch);
  ops_.Fill(scratch_.data(), 0xff, static_cast<size_t>(bytes));  // NaNs
  ops_.SetScratch({scratch_.data(), DType::kU8, {bytes}});
}

void PreparedCase::Reset() {
  for (Tensor& tensor : tensors_) {
    if (tensor.initial.empty()) {
      tensor.rows->Poison();
    } else {
      tensor.rows->Set(tensor.initial);
    }
  }
}

std::vector<float> PreparedCase::Outputs() const {
  std::vector<float> all;
  for (const Tensor& tensor : tensors_) {
    if (!tensor.compared) continue;
    const std::vector<float> values = tensor.rows->Get();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool PreparedCase::GuardsIntact() const {
  for (const Tensor& tensor : tensors_) {
    if (!tensor.rows->GuardsIntact()) return false;
  }
  return true;
}

std::vector<float> Normal(uint32_t seed, int64_t n, float deviation) {
  // Sums of four uniforms: near enough to normal, and cheap for whole matrices.
  uint64_t state = (uint64_t{seed} + 1) * 0x9E3779B97F4A7C15u;
  const float scale = deviation * std::sqrt(3.0F) * 0x1.0p-16F;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t bits = state ^ (state >> 29);
    const uint64_t sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) +
                         ((bits >> 48) & 0xffff);
    v = (static_cast<float>(sum) - 131070.0F) * scale;
  }
  return values;
}

std::vector<std::byte> Encode(const std::vector<float>& values, DType dtype) {
  const auto size = static_cast<size_t>(DTypeSize(dtype));
  std::vector<std::byte> bytes(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::kF16 ? F32ToF16(values[i]) : F32ToBF16(values[i]);
    std::memcpy(bytes.data() + i * size,
                dtype == DType::kF32 ? static_cast<const void*>(&values[i]) : &half, size);
  }
  return bytes;
}

StepFixture::StepFixture(const std::vector<SequenceShape>& sequences, int32_t block_size,
                         int32_t min_stride) {
  table_stride = min_stride;
  for (const SequenceShape& s : sequences) {
    table_stride = std::max(table_stride, (s.context + block_size - 1) / block_size);
  }
  num_blocks = 1 + static_cast<int32_t>(sequences.size()) * table_stride;
  // Blocks in no order, block 0 as padding.
  std::vector<BlockId> ids(static_cast<size_t>(num_blocks - 1));
  std::iota(ids.begin(), ids.end(), 1);
  std::mt19937 random(7);
  std::shuffle(ids.begin(), ids.end(), random);
  size_t next = 0;
  row_start.push_back(0);
  for (const SequenceShape& s : sequences) {
    for (int32_t i = 0; i < s.rows; ++i) {
      positions.push_back(s.context - s.rows + i);
      token_ids.push_back(static_cast<TokenId>((positions.back() * 7 + row_start.size()) % 11));
    }
    row_start.push_back(static_cast<int32_t>(positions.size()));
    context_len.push_back(s.context);
    if (s.rows > 0) sample_rows.push_back(row_start.back() - 1);
    for (int32_t b = 0; b < table_stride; ++b) {
      block_tables.push_back(b * block_size < s.context ? ids[next++] : kPaddingBlock);
    }
  }
}

StepInputs StepFixture::Inputs() const {
  StepInputs inputs;
  inputs.num_tokens = static_cast<int32_t>(positions.size());
  inputs.num_sequences = static_cast<int32_t>(context_len.size());
  inputs.token_ids = token_ids;
  inputs.positions = positions;
  inputs.row_start = row_start;
  inputs.context_len = context_len;
  inputs.block_tables = block_tables;
  inputs.table_stride = table_stride;
  inputs.sample_rows = sample_rows;
  return inputs;
}

std::unique_ptr<StepPlan> StepFixture::Plan(Ops& ops) const {
  const StepInputs inputs = Inputs();
  auto plan = ops.MakeStepPlan(inputs.num_tokens, inputs.num_sequences, table_stride);
  ops.PlanStep(inputs, plan.get());
  return plan;
}

}  // namespace inferd::testing
