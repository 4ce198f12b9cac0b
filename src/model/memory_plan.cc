#include "inferd/model/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "inferd/model/model.h"
#include "model/embedding_source.h"
#include "model/layer_stream.h"
#include "model/tensor_list.h"
#include "model/weight_gather.h"

namespace inferd {
namespace {

Status CheckRequest(const ModelConfig& config, const MemoryRequest& r) {
  const auto in_range = [](std::string_view name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return OkStatus();
    return FailedPreconditionError(std::string(name) + ": must be in [" + std::to_string(low) +
                                   ", " + std::to_string(high) + "]");
  };
  INFERD_RETURN_IF_ERROR(in_range("max_model_len", r.max_model_len, 0, config.max_context));
  INFERD_RETURN_IF_ERROR(in_range("max_running", r.max_running, 1, 65536));
  INFERD_RETURN_IF_ERROR(in_range("max_batched_tokens", r.max_batched_tokens, 1, 1 << 20));
  INFERD_RETURN_IF_ERROR(in_range("block_size", r.block_size, 1, 1024));
  INFERD_RETURN_IF_ERROR(in_range("num_blocks", r.num_blocks, 0, 1 << 30));
  INFERD_RETURN_IF_ERROR(in_range("kv_bytes", r.kv_bytes, 0, int64_t{1} << 50));
  const int64_t context = r.max_model_len > 0 ? r.max_model_len : config.max_context;
  const int64_t entries = (context + r.block_size - 1) / r.block_size * r.max_running;
  constexpr int64_t kMostEntries = int64_t{1} << 30;
  if (entries > kMostEntries) {
    return FailedPreconditionError("block tables of " + std::to_string(entries) +
                                   " entries, at most " + std::to_string(kMostEntries) +
                                   " may be: max_running or max_model_len is too large");
  }
  if (!(r.kv_fraction > 0.0 && r.kv_fraction <= 1.0)) {
    return FailedPreconditionError("kv_fraction: must be in (0, 1]");
  }
  if (r.kv_dtype != DType::kF32 && r.kv_dtype != DType::kBF16 && r.kv_dtype != DType::kI8 &&
      r.kv_dtype != DType::kF8E4M3) {
    return FailedPreconditionError("kv_dtype: must be f32, bf16, i8 or f8_e4m3");
  }
  return OkStatus();
}

// Of `bytes` of a linear layer's tensor those in the rank's block.
int64_t ShareOf(const ModelShard& shard, const model::ExpectedTensor& e, int64_t bytes) {
  if (e.in == 0) return bytes;
  const model::LinearBlock block = model::BlockOf(shard, e.linear, e.out, e.in);
  const int64_t rows = bytes * block.out_count / e.out;
  // A scale per output is not split with the inputs.
  const bool scales =
      e.role == model::TensorRole::kScales || e.role == model::TensorRole::kSharedScales;
  const bool per_output = scales && (e.shape.size() < 2 || e.shape.back() == 1);
  return per_output ? rows : rows * block.in_count / e.in;
}

// Whether the rank's stage has the tensor.
bool IsOnStage(const ModelShard& shard, const model::ExpectedTensor& e) {
  if (e.layer >= 0) {
    return e.layer >= shard.first_layer && e.layer < shard.first_layer + shard.local.num_layers;
  }
  return e.name == model::kEmbedding ? shard.place.first_stage() : shard.place.last_stage();
}

// Bytes of the rank's packed weights at the checkpoint's precision; vectors and scales
// as f32, zero points a byte each.
int64_t WeightBytes(const ModelShard& shard, const Checkpoint& checkpoint, int64_t* mapped,
                    int64_t* of_layers) {
  constexpr int64_t kZerosPerWord = 8;
  const ModelConfig& config = shard.whole;
  const auto expected = model::ExpectedTensors(config, checkpoint);
  INFERD_CHECK(expected.ok());  // CheckTensors came first
  int64_t bytes = 0;
  for (const model::ExpectedTensor& e : *expected) {
    const StatusOr<TensorView> view =
        e.integer.empty() ? checkpoint.View(e.name) : checkpoint.IntegerView(e.name);
    INFERD_CHECK(view.ok());
    if (e.name == model::kEmbedding && config.tie_word_embeddings && shard.place.last_stage()) {
      // Packed once more as the head.
      const model::LinearBlock head =
          model::BlockOf(shard, model::LinearRole::kHead, config.vocab_size, config.hidden_size);
      bytes += view->NumBytes() / config.vocab_size * head.out_count;
    }
    if (!IsOnStage(shard, e)) continue;
    const int64_t before = bytes;
    switch (e.role) {
      case model::TensorRole::kMatrix:
        if (e.name == model::kEmbedding) {
          *mapped = view->NumBytes();
          break;
        }
        bytes += ShareOf(shard, e, view->NumBytes());
        break;
      case model::TensorRole::kCodes:
        bytes += ShareOf(shard, e, view->NumBytes());
        break;
      case model::TensorRole::kVector:
      case model::TensorRole::kScales:
        bytes += ShareOf(shard, e, view->NumElements() * DTypeSize(DType::kF32));
        break;
      case model::TensorRole::kSharedScales: {
        const int64_t groups = e.shape.size() == 2 ? e.shape.back() : 1;
        bytes += ShareOf(shard, e, e.out * groups * DTypeSize(DType::kF32));
        break;
      }
      case model::TensorRole::kZeros:
        bytes += ShareOf(shard, e, view->NumElements() * kZerosPerWord);
        break;
      case model::TensorRole::kGroupIndex:
      case model::TensorRole::kUnused:
        break;
    }
    if (e.layer >= 0) *of_layers += bytes - before;
  }
  return bytes;
}

std::string MiB(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

}  // namespace

MemoryUse UseOf(const MemoryPlan& plan) {
  MemoryUse use;
  use.weights = plan.weight_bytes + plan.copied_bytes;
  use.kv_cache = plan.kv_bytes;
  use.activations = plan.workspace_bytes + plan.scratch_bytes;
  use.other = plan.rope_bytes + plan.overhead_bytes - plan.copied_bytes;
  return use;
}

StatusOr<MemoryPlan> PlanMemory(const ModelConfig& config, const Checkpoint& checkpoint,
                                const Ops& ops, const MemoryRequest& request,
                                std::vector<std::string>* notes) {
  return PlanMemory(WholeModel(config), checkpoint, ops, request, notes);
}

StatusOr<MemoryPlan> PlanMemory(const ModelShard& shard, const Checkpoint& checkpoint,
                                const Ops& ops, const MemoryRequest& request,
                                std::vector<std::string>* notes) {
  const ModelConfig& config = shard.whole;
  INFERD_RETURN_IF_ERROR(CheckRequest(config, request));
  INFERD_RETURN_IF_ERROR(model::CheckTensors(config, checkpoint, notes));
  INFERD_RETURN_IF_ERROR(model::CheckShard(shard, checkpoint));

  MemoryPlan plan;
  plan.max_model_len = request.max_model_len > 0 ? request.max_model_len : config.max_context;
  int64_t layer_bytes = 0;
  plan.weight_bytes = WeightBytes(shard, checkpoint, &plan.mapped_bytes, &layer_bytes);
  if (model::HeadIsEmbedding(shard, checkpoint, ops)) plan.mapped_bytes = 0;
  if (request.stream_weights) {
    const int64_t in_memory =
        std::min<int64_t>(shard.local.num_layers, model::LayerStream::kMostLayers);
    plan.streamed_bytes = layer_bytes;
    plan.weight_bytes -= layer_bytes - layer_bytes / shard.local.num_layers * in_memory;
  }
  if (shard.place.shape.shard_weights) {
    const auto layers = static_cast<size_t>(shard.local.num_layers);
    const auto places = static_cast<int64_t>(model::WeightGather::NumPlaces(layers));
    plan.weight_bytes += layer_bytes / shard.place.shape.tp() - layer_bytes +
                         layer_bytes / shard.local.num_layers * places;
  }
  plan.rope_bytes = int64_t{plan.max_model_len} * config.head_dim * DTypeSize(DType::kF32);
  const StepLimits limits{request.max_batched_tokens, request.max_running, plan.max_model_len};
  plan.workspace_bytes = Workspace::Bytes(shard, limits);
  if (!shard.place.last_stage()) {
    plan.workspace_bytes += int64_t{kHiddenStatesInFlight} * request.max_batched_tokens *
                            config.hidden_size * DTypeSize(DType::kF32);
  }
  plan.scratch_bytes = ops.ScratchBytes(request.max_batched_tokens, request.max_running,
                                        MaxFeatures(shard), config.vocab_size);
  const int64_t table_bytes = model::EmbeddingBytes(shard, checkpoint, ops);
  const int64_t counted =
      plan.weight_bytes + plan.rope_bytes + plan.workspace_bytes + plan.scratch_bytes;
  const KvLayerSpec spec{shard.local.num_kv_heads, config.head_dim, request.block_size,
                         request.kv_dtype};
  const int64_t per_sequence =
      (int64_t{plan.max_model_len} + request.block_size - 1) / request.block_size;
  plan.overhead_bytes =
      ops.OverheadBytes({.bytes = counted,
                         .embedding_bytes = table_bytes,
                         .vocab_size = shard.place.last_stage() ? config.vocab_size : 0,
                         .num_heads = shard.local.num_heads,
                         .kv = spec,
                         .max_tokens = request.max_batched_tokens,
                         .max_sequences = request.max_running,
                         .max_blocks_per_sequence = static_cast<int32_t>(per_sequence)});
  if (ops.SplitsEmbedding()) plan.copied_bytes = std::min(table_bytes, plan.overhead_bytes);
  const int64_t fixed = counted + plan.overhead_bytes;
  if (request.available_bytes > 0 && fixed > request.available_bytes) {
    return ResourceExhaustedError("the model needs " + MiB(fixed) + " beside its KV cache, " +
                                  MiB(request.available_bytes) + " are available");
  }

  plan.kv_bytes_per_block = ops.KvBytesPerBlock(spec) * shard.local.num_layers;
  const int64_t everyone = 1 + per_sequence * request.max_running;
  int64_t blocks = request.num_blocks;
  if (blocks == 0 && request.kv_bytes > 0) blocks = request.kv_bytes / plan.kv_bytes_per_block;
  if (blocks == 0 && request.kv_bytes == 0) {
    blocks = everyone;
    if (request.available_bytes > 0) {
      const double share =
          static_cast<double>(request.available_bytes - fixed) * request.kv_fraction;
      blocks = std::min(blocks, static_cast<int64_t>(share) / plan.kv_bytes_per_block);
    }
  }
  plan.num_blocks = static_cast<int32_t>(std::min(blocks, int64_t{1} << 30));
  plan.kv_bytes = plan.kv_bytes_per_block * plan.num_blocks;
  plan.total_bytes = fixed + plan.kv_bytes;
  if (plan.num_blocks < 2) {
    return ResourceExhaustedError("no room for a KV cache: a block of " +
                                  std::to_string(request.block_size) + " tokens takes " +
                                  std::to_string(plan.kv_bytes_per_block) + " bytes");
  }
  if (request.available_bytes > 0 && plan.total_bytes > request.available_bytes) {
    return ResourceExhaustedError("model and KV cache need " + MiB(plan.total_bytes) + ", " +
                                  MiB(request.available_bytes) + " are available");
  }
  if (plan.num_blocks - 1 < per_sequence) {
    notes->push_back("the KV cache holds " + std::to_string(plan.KvTokens(request.block_size)) +
                     " tokens, fewer than max_model_len " + std::to_string(plan.max_model_len));
  }
  return plan;
}

}  // namespace inferd
