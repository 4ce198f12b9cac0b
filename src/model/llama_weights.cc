#include "model/llama_weights.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <optional>
#include <utility>

#include "model/embedding_source.h"
#include "model/layer_stream.h"
#include "model/shard_rules.h"
#include "model/tensor_list.h"
#include "model/weight_gather.h"
#include "model/weight_source.h"

namespace inferd::model {
namespace {

constexpr size_t kAlignment = 64;  // bytes
size_t AlignedSize(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

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

// All that is packed. `take`, if there is one, is given each layer as it comes.
StatusOr<Weights> LoadPacked(const ModelShard& shard, WeightSource& source,
                             const std::function<Status(LayerWeights&)>& take = nullptr) {
  const ModelConfig& config = shard.whole;
  Weights weights;
  if (shard.place.last_stage()) {
    // Before the layers: what decoding and packing the largest matrix takes beside it is
    // given back before they come. Most files have it first, too.
    const std::string_view head = config.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
    INFERD_ASSIGN_OR_RETURN(weights.head,
                            LoadLinear(shard, "", {{head, LinearRole::kHead, config.vocab_size}},
                                       config.hidden_size, /*bias=*/false, source));
    source.ReleasePages();
  }
  weights.layers.reserve(static_cast<size_t>(shard.local.num_layers));
  for (int32_t i = 0; i < shard.local.num_layers; ++i) {
    INFERD_ASSIGN_OR_RETURN(weights.layers.emplace_back(),
                            LoadLayer(shard, LayerPrefix(shard.first_layer + i), source));
    if (take) INFERD_RETURN_IF_ERROR(take(weights.layers.back()));
    // The packed copy is what counts now; the peak stays near one copy.
    source.ReleasePages();
  }
  if (!shard.place.last_stage()) return weights;
  INFERD_ASSIGN_OR_RETURN(weights.final_norm, source.Vector(std::string(kFinalNorm)));
  return weights;
}

// Tells the packed weights of one shard from those of another.
std::string ShardName(const ModelShard& shard) {
  if (shard.place.shape == ParallelShape()) return {};
  return ", rank " + std::to_string(shard.place.tp_rank) + " of " + ShapeText(shard.place.shape) +
         ", layers " + std::to_string(shard.first_layer) + "+" +
         std::to_string(shard.local.num_layers);
}

// The memory of a layer but its norms.
std::vector<Buffer*> MatricesOf(LayerWeights& layer) {
  std::vector<Buffer*> parts;
  for (LinearWeight* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
    parts.push_back(&linear->packed);
    parts.push_back(&linear->bias);
  }
  return parts;
}

// Where the layers lie in their file, each from its first weight to the end of its last.
std::vector<LayerStream::Region> RegionsOf(std::vector<LayerWeights>& layers) {
  std::vector<LayerStream::Region> regions;
  for (LayerWeights& layer : layers) {
    std::byte* begin = nullptr;
    std::byte* end = nullptr;
    std::vector<Buffer*> parts = MatricesOf(layer);
    for (VectorWeight* vector :
         {&layer.attention_norm, &layer.q_norm, &layer.k_norm, &layer.mlp_norm}) {
      parts.push_back(&vector->data);
    }
    for (const Buffer* part : parts) {
      if (part->size() == 0) continue;
      begin = begin == nullptr ? part->data() : std::min(begin, part->data());
      end = std::max(end, part->data() + part->size());
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
  loaded.source = std::make_unique<LayerStream>(RegionsOf(loaded.weights.layers));
  return loaded;
}

// One rank's part of a layer: its matrices in a row, each aligned, cut into as many pieces
// as there are ranks.
StatusOr<Buffer> ShareOf(LayerWeights& layer, const RankPlace& place, Allocator& allocator) {
  const auto ranks = static_cast<size_t>(place.shape.tp());
  size_t bytes = 0;
  for (const Buffer* part : MatricesOf(layer)) bytes += AlignedSize(part->size());
  const size_t share = AlignedSize((bytes + ranks - 1) / ranks);
  INFERD_ASSIGN_OR_RETURN(Buffer own, Buffer::Create(allocator, share));
  const size_t begin = share * static_cast<size_t>(place.tp_rank);
  size_t at = 0;
  for (const Buffer* part : MatricesOf(layer)) {
    const size_t from = std::max(at, begin);
    const size_t to = std::min(at + part->size(), begin + share);
    if (from < to) std::memcpy(own.data() + (from - begin), part->data() + (from - at), to - from);
    at += AlignedSize(part->size());
  }
  return own;
}

// Layers of which each rank of the stage keeps a part, and the norms, which are small and
// used before their layer.
StatusOr<LoadedWeights> LoadSharded(const ModelShard& shard, Communicator& link,
                                    const Checkpoint& checkpoint, Ops& ops) {
  if (ops.PackedLayout().empty()) {
    return FailedPreconditionError("this backend's weights cannot be put together out of parts");
  }
  PackingSource packing(shard.whole.quantization, checkpoint, ops);
  LoadedWeights loaded;
  std::vector<WeightGather::Layer> shares;
  size_t largest = 0;
  INFERD_ASSIGN_OR_RETURN(loaded.weights,
                          LoadPacked(shard, packing, [&](LayerWeights& layer) -> Status {
                            INFERD_ASSIGN_OR_RETURN(shares.emplace_back().share,
                                                    ShareOf(layer, shard.place, ops.allocator()));
                            largest = std::max(largest, shares.back().share.size());
                            // What remains of the layer are its sizes.
                            for (Buffer* part : MatricesOf(layer))
                              *part = Buffer::Borrow(nullptr, part->size());
                            return OkStatus();
                          }));
  const size_t count = shares.size();
  for (size_t i = 0; i < WeightGather::NumPlaces(count); ++i) {
    INFERD_ASSIGN_OR_RETURN(
        loaded.places.emplace_back(),
        Buffer::Create(ops.allocator(), largest * static_cast<size_t>(shard.place.shape.tp())));
  }
  for (size_t i = 0; i < count; ++i) {
    std::byte* at = loaded.places[WeightGather::PlaceOf(i, count)].data();
    shares[i].whole = at;
    for (Buffer* part : MatricesOf(loaded.weights.layers[i])) {
      const size_t size = part->size();
      *part = size == 0 ? Buffer() : Buffer::Borrow(at, size);
      at += AlignedSize(size);
    }
  }
  loaded.source = std::make_unique<WeightGather>(link, std::move(shares));
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

}  // namespace

StatusOr<LoadedWeights> LoadLlamaWeights(const ModelShard& shard, const RankLinks& links,
                                         const Checkpoint& checkpoint,
                                         const PackedCacheOptions& cache, Ops& ops) {
  INFERD_ASSIGN_OR_RETURN(LoadedWeights loaded,
                          links.weights != nullptr
                              ? LoadSharded(shard, *links.weights, checkpoint, ops)
                          : cache.stream ? LoadStreamed(shard, checkpoint, cache, ops)
                                         : LoadKeptOrPack(shard, checkpoint, cache, ops));
  if (shard.place.first_stage()) {
    INFERD_ASSIGN_OR_RETURN(loaded.weights.embedding,
                            LoadEmbedding(shard, checkpoint, loaded.weights.head, ops));
  }
  return loaded;
}

}  // namespace inferd::model
