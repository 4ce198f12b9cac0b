// What happens once, at load: weights to the device, memory and its plan.
#include <algorithm>
#include <utility>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/host_weights.h"
#include "cuda/linear.h"

namespace inferd {

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
                      return WritePackedRows(parts, weight, static_cast<int64_t>(first / unit),
                                             static_cast<int64_t>(count / unit), files_, to);
                    });
  if (form.bytes > form.scales_at) {
    HostAllocator host;
    INFERD_ASSIGN_OR_RETURN(const Buffer tail,
                            Buffer::Create(host, static_cast<size_t>(form.bytes - form.scales_at)));
    WritePackedTail(parts, weight, tail.data());
    device_->CopyIn(weight.packed.data() + form.scales_at, tail.data(), tail.size());
  }
  if (!bias.empty()) {
    HostAllocator host;
    INFERD_ASSIGN_OR_RETURN(const Buffer joined, JoinBias(bias, files_, host));
    INFERD_ASSIGN_OR_RETURN(weight.bias, Buffer::Create(*device_, joined.size()));
    device_->CopyIn(weight.bias.data(), joined.data(), joined.size());
  }
  INFERD_RETURN_IF_ERROR(device_->Wait());
  NoteShape(weight);
  return weight;
}

StatusOr<VectorWeight> CudaOps::PackVector(const TensorView& host) {
  HostAllocator allocator;
  INFERD_ASSIGN_OR_RETURN(const VectorWeight values, VectorToF32(host, files_, allocator));
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
  device_->CopyMade(table.owned.data(), bytes, 1, [&](std::byte* to, size_t first, size_t count) {
    return ReadBytes(files_, to, host.As<std::byte>() + first, count);
  });
  table.view.data = table.owned.data();
  return table;
}

bool CudaOps::ReadsRows(WeightFormat format) const { return IsFloat(format); }

StatusOr<EmbeddingTable> CudaOps::TableOf(const LinearWeight& head) const {
  return PackedTable(head);
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

// A table that is not rows of the head is copied. Rows are padded to 64 bytes and parts to
// ArenaMap::kUnit, which is little beside matrices of a size worth a GPU.
int64_t CudaOps::OverheadBytes(const ModelFootprint& model) const {
  constexpr int64_t kSmallParts = int64_t{1} << 20;
  constexpr int64_t kPaddingShare = 128;
  const int32_t group = model.num_heads / std::max(1, model.kv.num_kv_heads);
  return model.embedding_bytes + (model.bytes + model.embedding_bytes) / kPaddingShare +
         static_cast<int64_t>(LibraryGemm::kWorkspaceBytes) +
         CudaStepPlan::DeviceBytes(model.max_tokens, model.max_sequences,
                                   model.max_blocks_per_sequence) +
         CudaStepPlan::WorkBytes(model.max_tokens, model.max_sequences,
                                 int64_t{model.max_blocks_per_sequence} * model.kv.block_size,
                                 group, model.kv.num_kv_heads) +
         DeviceSampler::DeviceBytes(model.max_sequences, model.vocab_size) + kSmallParts;
}

Status CudaOps::Reserve(int64_t bytes) { return device_->Reserve(static_cast<size_t>(bytes)); }

void CudaOps::SetScratch(TensorView scratch) {
  scratch_ = scratch;
  TuneProducts();
}

int64_t CudaOps::ScratchBytes(int32_t max_tokens, int32_t /*max_sequences*/, int64_t max_features,
                              int64_t /*vocab_size*/) const {
  // Rows are widest as bf16 terms, which those for FP8 weights pad more. Scales of groups
  // of 32 take an eighth of a byte an input.
  const int64_t scales = max_features / 8 + static_cast<int64_t>(sizeof(float));
  const int64_t row = std::max({terms_ * 2 * cuda::Fp8RowBytes(max_features),
                                2 * cuda::Fp8RowBytes(max_features) + scales,
                                2 * cuda::Int4RowBytes(max_features)});
  // Attention puts the parts of split sequences there, which are many where the tokens are few.
  constexpr int32_t kLeastTokens = 256;
  return std::max(max_tokens, kLeastTokens) * row + 4 * static_cast<int64_t>(ArenaMap::kUnit);
}

}  // namespace inferd
