// What happens once, at load: weights to the device, memory and its plan.
#include <algorithm>
#include <utility>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/host_weights.h"
#include "cuda/linear.h"

namespace inferd {

void CudaOps::SetFiles(const FileBytes* files) {
  if (files == files_) return;
  files_ = files;
  if (files != nullptr) return device_->BeginLoading(load_threads_);
  (void)device_->EndLoading();  // the error stays
}

bool CudaOps::Supports(WeightFormat /*format*/) const { return true; }

StatusOr<LinearWeight> CudaOps::Pack(std::span<const RawLinear> parts,
                                     std::span<const TensorView> bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, DescribeLinear(parts, bias));
  const PackedForm form = FormOf(weight);
  const GroupRows rows = GroupRowsOf(weight);
  if (std::max(form.row_bytes, rows.outputs * static_cast<int64_t>(sizeof(float))) >
          static_cast<int64_t>(Device::kSlotBytes) ||
      weight.out_features > INT32_MAX || weight.in_features > INT32_MAX) {
    return InvalidArgumentError("a matrix of this size is not taken by the GPU's kernels");
  }
  INFERD_ASSIGN_OR_RETURN(weight.packed, Buffer::Create(*device_, static_cast<size_t>(form.bytes)));
  const auto send = [&](int64_t at, int64_t end, int64_t unit, const auto& write) {
    device_->CopyMade(weight.packed.data() + at, static_cast<size_t>(end - at),
                      static_cast<size_t>(unit), [&](std::byte* to, size_t first, size_t count) {
                        return write(static_cast<int64_t>(first) / unit,
                                     static_cast<int64_t>(count) / unit, to);
                      });
  };
  send(0, form.value_bytes(), form.row_bytes, [&](int64_t first, int64_t count, std::byte* to) {
    return WritePackedRows(parts, weight, first, count, files_, to);
  });
  if (form.zeros_at > form.scales_at) {
    send(form.scales_at, form.zeros_at, rows.outputs * static_cast<int64_t>(sizeof(float)),
         [&](int64_t first, int64_t count, std::byte* to) {
           WritePackedScales(parts, weight, first, count, to);
           return OkStatus();
         });
  }
  if (form.bytes > form.zeros_at) {
    send(form.zeros_at, form.bytes, rows.outputs, [&](int64_t first, int64_t count, std::byte* to) {
      WritePackedZeros(parts, weight, first, count, to);
      return OkStatus();
    });
  }
  if (!bias.empty()) {
    HostAllocator host;
    INFERD_ASSIGN_OR_RETURN(const Buffer joined, JoinBias(bias, files_, host));
    INFERD_ASSIGN_OR_RETURN(weight.bias, Buffer::Create(*device_, joined.size()));
    device_->CopyIn(weight.bias.data(), joined.data(), joined.size());
  }
  INFERD_RETURN_IF_ERROR(device_->error());
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
  INFERD_RETURN_IF_ERROR(device_->error());
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
