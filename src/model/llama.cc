// The Llama family of decoder-only transformers.
//
//   x = embed(tokens)
//   for each layer:
//     x += O(attention(rope(Q(norm(x))), rope(K(norm(x))), V(norm(x))))
//     x += Down(silu(Gate(norm(x))) * Up(norm(x)))
//   logits = Head(norm(x))
//
// Mistral is the same; Qwen2 has biases on q, k and v; Qwen3 normalises each q
// and k head before rope. Q, K, V and Gate, Up are one matrix each.
//
// A rank has the layers of its stage, and of each its share of the heads and of the inner
// features; TensorParallel says where the ranks of a stage put their parts together.
#include "model/llama.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "model/layer_stream.h"
#include "model/packed_cache.h"
#include "model/rope_table.h"
#include "model/shard_rules.h"
#include "model/tensor_list.h"
#include "model/tensor_parallel.h"
#include "model/weight_source.h"

namespace inferd::model {
namespace {

// The sizes are the rank's.
struct LayerWeights {
  VectorWeight attention_norm;  // [hidden]
  LinearWeight qkv;             // [(hq + 2 hk) * d, hidden]
  VectorWeight q_norm;          // [d], with qk_norm
  VectorWeight k_norm;          // [d], with qk_norm
  LinearWeight output;          // [hidden, hq * d]
  VectorWeight mlp_norm;        // [hidden]
  LinearWeight gate_up;         // [2 ffn, hidden]
  LinearWeight down;            // [hidden, ffn]
};

struct Weights {
  EmbeddingTable embedding;  // [vocab, hidden]; on the first stage
  std::vector<LayerWeights> layers;
  VectorWeight final_norm;  // [hidden]; on the last stage, and so the head
  LinearWeight head;        // [vocab, hidden]
  RopeTable rope;
};

// Weights, and what they are in or being written to.
struct LoadedWeights {
  PackedFile file;
  Weights weights;
  std::unique_ptr<PackedSaver> saver;
  std::unique_ptr<LayerStream> stream;  // null: all in memory
};

// A layer that is in memory meanwhile.
class LayerInUse {
 public:
  LayerInUse(LayerStream* stream, size_t layer) : stream_(stream), layer_(layer) {
    if (stream_ != nullptr) stream_->Use(layer_);
  }
  ~LayerInUse() {
    if (stream_ != nullptr) stream_->Release(layer_);
  }
  LayerInUse(const LayerInUse&) = delete;
  LayerInUse& operator=(const LayerInUse&) = delete;

 private:
  LayerStream* const stream_;
  const size_t layer_;
};

class Llama final : public Model {
 public:
  Llama(ModelShard shard, const RankLinks& links, Checkpoint checkpoint, LoadedWeights loaded)
      : shard_(std::move(shard)),
        parallel_(shard_, links),
        checkpoint_(std::move(checkpoint)),
        file_(std::move(loaded.file)),
        weights_(std::move(loaded.weights)),
        saver_(std::move(loaded.saver)),
        stream_(std::move(loaded.stream)) {}

  const ModelShard& shard() const override { return shard_; }
  StatusOr<TensorView> Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                               const Workspace& workspace) override;

 private:
  const ModelShard shard_;
  TensorParallel parallel_;
  Checkpoint checkpoint_;  // the embedding may point into it
  PackedFile file_;        // weights_ may point into it
  Weights weights_;
  std::unique_ptr<PackedSaver> saver_;   // reads weights_
  std::unique_ptr<LayerStream> stream_;  // reads file_; null: all of it is in memory
};

StatusOr<TensorView> Llama::Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                                    const Workspace& workspace) {
  INFERD_CHECK(kv.size() == weights_.layers.size());
  const ModelConfig& config = shard_.local;
  const bool last_stage = shard_.place.last_stage();
  const float eps = config.rms_norm_eps;
  const int32_t heads = config.num_heads;
  const int32_t kv_heads = config.num_kv_heads;
  const int32_t head_dim = config.head_dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const int64_t samples = plan.num_sample_rows();
  int64_t rows = plan.num_tokens();

  TensorView x = workspace.Residual(rows);
  TensorView normed = workspace.Normed(rows);
  if (shard_.place.first_stage()) {
    INFERD_RETURN_IF_ERROR(parallel_.Embed(ops, plan, weights_.embedding, x));
  } else {
    INFERD_RETURN_IF_ERROR(parallel_.ReceiveHidden(x));
  }
  ops.RmsNorm(x, weights_.layers.front().attention_norm, eps, normed);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    const bool ends_stage = i + 1 == weights_.layers.size();
    const bool last = last_stage && ends_stage;
    const LayerInUse in_use(stream_.get(), i);

    const TensorView qkv = workspace.Qkv(rows);
    INFERD_RETURN_IF_ERROR(parallel_.FromHidden(ops, normed, layer.qkv, qkv, workspace));
    if (config.qk_norm) {
      ops.HeadRmsNorm(qkv, 0, heads, head_dim, layer.q_norm, eps);
      ops.HeadRmsNorm(qkv, heads, kv_heads, head_dim, layer.k_norm, eps);
    }
    ops.RopeAppendKv(plan, weights_.rope, qkv, heads, kv[i]);
    // Past the last keys and values only the sample rows matter.
    if (last && samples == 0) return TensorView();
    TensorView attended = workspace.Attended(rows);
    ops.Attention(plan, qkv, heads, kv[i], scale, attended);
    if (last) {
      rows = samples;
      ops.GatherSampleRows(plan, attended, workspace.SampledIn(rows));
      ops.GatherSampleRows(plan, x, workspace.SampledRes(rows));
      attended = workspace.SampledIn(rows);
      x = workspace.SampledRes(rows);
      normed = workspace.Normed(rows);
    }
    INFERD_RETURN_IF_ERROR(parallel_.AddToHidden(ops, attended, layer.output, x, &layer.mlp_norm,
                                                 eps, normed, workspace));

    const TensorView gate_up = workspace.GateUp(rows);
    const TensorView activated = workspace.Activated(rows);
    INFERD_RETURN_IF_ERROR(parallel_.FromHidden(ops, normed, layer.gate_up, gate_up, workspace));
    ops.SiluMul(gate_up, activated);
    const VectorWeight* next_norm = last         ? &weights_.final_norm
                                    : ends_stage ? nullptr  // the next stage's
                                                 : &weights_.layers[i + 1].attention_norm;
    INFERD_RETURN_IF_ERROR(
        parallel_.AddToHidden(ops, activated, layer.down, x, next_norm, eps, normed, workspace));
  }
  if (last_stage) return parallel_.Logits(ops, normed, weights_.head, workspace);
  INFERD_RETURN_IF_ERROR(parallel_.SendHidden(x));
  return TensorView();
}

// ---- loading ----

// The parts of a joined layer, all of the same inputs.
struct NamedRole {
  std::string_view name;
  LinearRole role;
  int64_t out;
};

StatusOr<LinearWeight> LoadLinear(const ModelShard& shard, const std::string& prefix,
                                  std::initializer_list<NamedRole> parts, int64_t in, bool bias,
                                  WeightSource& source) {
  std::vector<LinearPart> blocks;
  for (const NamedRole& part : parts) {
    blocks.push_back({part.name, BlockOf(shard, part.role, part.out, in)});
  }
  return source.Linear(prefix, blocks, bias);
}

StatusOr<LayerWeights> LoadLayer(const ModelShard& shard, const std::string& prefix,
                                 WeightSource& source) {
  const ModelConfig& config = shard.whole;
  const int64_t hidden = config.hidden_size;
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv = int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t ffn = config.intermediate_size;
  const auto linear = [&](std::initializer_list<NamedRole> parts, int64_t in, bool bias) {
    return LoadLinear(shard, prefix, parts, in, bias, source);
  };
  LayerWeights layer;
  INFERD_ASSIGN_OR_RETURN(layer.attention_norm, source.Vector(prefix + "input_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(layer.qkv, linear({{"self_attn.q_proj", LinearRole::kQuery, q},
                                             {"self_attn.k_proj", LinearRole::kKeyValue, kv},
                                             {"self_attn.v_proj", LinearRole::kKeyValue, kv}},
                                            hidden, config.qkv_bias));
  if (config.qk_norm) {
    INFERD_ASSIGN_OR_RETURN(layer.q_norm, source.Vector(prefix + "self_attn.q_norm.weight"));
    INFERD_ASSIGN_OR_RETURN(layer.k_norm, source.Vector(prefix + "self_attn.k_norm.weight"));
  }
  INFERD_ASSIGN_OR_RETURN(layer.output, linear({{"self_attn.o_proj", LinearRole::kOutput, hidden}},
                                               q, config.output_bias));
  INFERD_ASSIGN_OR_RETURN(layer.mlp_norm,
                          source.Vector(prefix + "post_attention_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(layer.gate_up, linear({{"mlp.gate_proj", LinearRole::kGateUp, ffn},
                                                 {"mlp.up_proj", LinearRole::kGateUp, ffn}},
                                                hidden, /*bias=*/false));
  INFERD_ASSIGN_OR_RETURN(
      layer.down, linear({{"mlp.down_proj", LinearRole::kDown, hidden}}, ffn, /*bias=*/false));
  return layer;
}

// All that is packed.
StatusOr<Weights> LoadPacked(const ModelShard& shard, WeightSource& source) {
  const ModelConfig& config = shard.whole;
  Weights weights;
  weights.layers.reserve(static_cast<size_t>(shard.local.num_layers));
  for (int32_t i = 0; i < shard.local.num_layers; ++i) {
    INFERD_ASSIGN_OR_RETURN(weights.layers.emplace_back(),
                            LoadLayer(shard, LayerPrefix(shard.first_layer + i), source));
    // The packed copy is what counts now; the peak stays near one copy.
    source.ReleasePages();
  }
  if (!shard.place.last_stage()) return weights;
  INFERD_ASSIGN_OR_RETURN(weights.final_norm, source.Vector(std::string(kFinalNorm)));
  const std::string_view head = config.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
  INFERD_ASSIGN_OR_RETURN(weights.head,
                          LoadLinear(shard, "", {{head, LinearRole::kHead, config.vocab_size}},
                                     config.hidden_size, /*bias=*/false, source));
  return weights;
}

// Tells the packed weights of one shard from those of another.
std::string ShardName(const ModelShard& shard) {
  if (shard.place.shape == ParallelShape()) return {};
  return ", rank " + std::to_string(shard.place.tp_rank) + " of " + ShapeText(shard.place.shape) +
         ", layers " + std::to_string(shard.first_layer) + "+" +
         std::to_string(shard.local.num_layers);
}

// Where the layers lie in their file, each from its first weight to the end of its last.
std::vector<LayerStream::Region> RegionsOf(const std::vector<LayerWeights>& layers) {
  std::vector<LayerStream::Region> regions;
  for (const LayerWeights& layer : layers) {
    std::byte* begin = nullptr;
    std::byte* end = nullptr;
    const auto include = [&](const Buffer& part) {
      if (part.size() == 0) return;
      begin = begin == nullptr ? part.data() : std::min(begin, part.data());
      end = std::max(end, part.data() + part.size());
    };
    for (const VectorWeight* vector :
         {&layer.attention_norm, &layer.q_norm, &layer.k_norm, &layer.mlp_norm}) {
      include(vector->data);
    }
    for (const LinearWeight* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      include(linear->packed);
      include(linear->bias);
    }
    regions.push_back({begin, static_cast<size_t>(end - begin)});
  }
  return regions;
}

// Layers that stay in the file, which is made first if it is not there: a layer at a time,
// so that no more than one is in memory.
StatusOr<LoadedWeights> LoadStreamed(const ModelShard& shard, const Checkpoint& checkpoint,
                                     const PackedCacheOptions& options, Ops& ops) {
  const std::string layout = ops.PackedLayout();
  if (options.directory.empty() || layout.empty()) {
    return FailedPreconditionError(
        "streaming weights needs a directory for packed weights, and a backend whose can be kept");
  }
  INFERD_ASSIGN_OR_RETURN(const PackedCache cache,
                          PackedCache::Create(options, checkpoint, layout + ShardName(shard)));
  LoadedWeights loaded;
  loaded.file = cache.Open();
  if (!loaded.file.open()) {
    PackingSource packing(shard.whole.quantization, checkpoint, ops);
    INFERD_RETURN_IF_ERROR(cache.Keep(checkpoint.TotalBytes(), [&](PackedAppender& appender) {
      AppendingSource appending(packing, appender);
      return LoadPacked(shard, appending).status();
    }));
    loaded.file = cache.Open();
    if (!loaded.file.open()) return FailedPreconditionError("the packed weights cannot be used");
  }
  KeptSource kept(loaded.file, ops);
  INFERD_ASSIGN_OR_RETURN(loaded.weights, LoadPacked(shard, kept));
  loaded.file.ReleasePages();
  loaded.stream = std::make_unique<LayerStream>(RegionsOf(loaded.weights.layers));
  return loaded;
}

StatusOr<LoadedWeights> LoadKeptOrPack(const ModelShard& shard, const Checkpoint& checkpoint,
                                       const PackedCacheOptions& options, Ops& ops) {
  LoadedWeights loaded;
  std::optional<PackedCache> cache;
  const std::string layout = ops.PackedLayout();
  if (!options.directory.empty() && !layout.empty()) {
    INFERD_ASSIGN_OR_RETURN(cache,
                            PackedCache::Create(options, checkpoint, layout + ShardName(shard)));
    loaded.file = cache->Open();
    if (loaded.file.open()) {
      KeptSource kept(loaded.file, ops);
      StatusOr<Weights> weights = LoadPacked(shard, kept);
      if (weights.ok()) {
        loaded.weights = std::move(*weights);
        return loaded;
      }
      cache->Reject(weights.status());
      loaded.file = PackedFile();
    }
  }
  PackingSource packing(shard.whole.quantization, checkpoint, ops);
  if (!cache) {
    INFERD_ASSIGN_OR_RETURN(loaded.weights, LoadPacked(shard, packing));
    return loaded;
  }
  PackedWriter writer;
  NotingSource noting(packing, writer);
  INFERD_ASSIGN_OR_RETURN(loaded.weights, LoadPacked(shard, noting));
  loaded.saver = cache->Save(std::move(writer));
  return loaded;
}

// The rank's part of the table: its rows of the vocabulary where the backend wants it so.
StatusOr<EmbeddingTable> LoadEmbedding(const ModelShard& shard, const Checkpoint& checkpoint,
                                       Ops& ops) {
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint.View(kEmbedding));
  if (!ops.SplitsEmbedding() || shard.place.shape.tp() == 1) return ops.PackEmbedding(whole);
  const LinearBlock block = BlockOf(shard, LinearRole::kHead, whole.dim(0), whole.dim(1));
  INFERD_ASSIGN_OR_RETURN(EmbeddingTable part,
                          ops.PackEmbedding(whole.Rows(block.out_begin, block.out_count)));
  part.first_row = block.out_begin;
  part.vocab_size = whole.dim(0);
  return part;
}

}  // namespace

StatusOr<std::unique_ptr<Model>> LoadLlama(const ModelShard& shard, const RankLinks& links,
                                           Checkpoint checkpoint, const StepLimits& limits,
                                           const PackedCacheOptions& cache, Ops& ops) {
  INFERD_ASSIGN_OR_RETURN(LoadedWeights loaded,
                          cache.stream ? LoadStreamed(shard, checkpoint, cache, ops)
                                       : LoadKeptOrPack(shard, checkpoint, cache, ops));
  Weights& weights = loaded.weights;
  if (shard.place.first_stage()) {
    INFERD_ASSIGN_OR_RETURN(weights.embedding, LoadEmbedding(shard, checkpoint, ops));
  }
  INFERD_ASSIGN_OR_RETURN(weights.rope, MakeRopeTable(shard.whole, limits.max_positions, ops));
  const bool borrowed = weights.embedding.owned.size() == 0;
  checkpoint.UnmapExcept(borrowed ? weights.embedding.view.data : nullptr);
  checkpoint.ReleasePages();
  return std::unique_ptr<Model>(
      std::make_unique<Llama>(shard, links, std::move(checkpoint), std::move(loaded)));
}

}  // namespace inferd::model
