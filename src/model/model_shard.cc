#include "inferd/model/model_shard.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace inferd {
namespace {

// Stored rows of 4-bit layers hold eight outputs.
constexpr int64_t kVocabGrain = 8;

Status CheckDivides(int64_t total, int ranks, std::string_view what) {
  if (total % ranks == 0) return OkStatus();
  return FailedPreconditionError("the model's " + std::to_string(total) + " " + std::string(what) +
                                 " cannot be split over " + std::to_string(ranks) + " ranks");
}

int64_t LayerWeights(const ModelConfig& c) {
  const int64_t heads = 2 * (int64_t{c.num_heads} + c.num_kv_heads);  // q, k, v, o
  return c.hidden_size * (heads * c.head_dim + 3 * int64_t{c.intermediate_size});
}

}  // namespace

std::vector<int32_t> SplitLayers(const ModelConfig& config, int stages) {
  if (stages == 1) return {config.num_layers};
  const int64_t layer = LayerWeights(config);
  const int64_t head = int64_t{config.vocab_size} * config.hidden_size;
  int32_t best_last = 1;
  int64_t best_cost = INT64_MAX;
  for (int32_t last = 1; last <= config.num_layers - (stages - 1); ++last) {
    const int32_t most = (config.num_layers - last + stages - 2) / (stages - 1);
    const int64_t cost = std::max(most * layer, last * layer + head);
    if (cost < best_cost) {
      best_cost = cost;
      best_last = last;
    }
  }
  const int32_t others = config.num_layers - best_last;
  std::vector<int32_t> layers;
  layers.reserve(static_cast<size_t>(stages));
  for (int32_t s = 0; s < stages - 1; ++s) {
    // The first ones take what is left over.
    layers.push_back(others / (stages - 1) + (s < others % (stages - 1) ? 1 : 0));
  }
  layers.push_back(best_last);
  return layers;
}

StatusOr<ModelShard> ShardModel(const ModelConfig& config, const RankPlace& place,
                                std::span<const int32_t> layers) {
  INFERD_RETURN_IF_ERROR(CheckShape(place.shape));
  const ParallelShape& shape = place.shape;
  const int rows = shape.tp_rows;
  INFERD_RETURN_IF_ERROR(CheckDivides(config.num_heads, rows, "query heads"));
  if (rows % config.num_kv_heads != 0) {
    INFERD_RETURN_IF_ERROR(CheckDivides(config.num_kv_heads, rows, "KV heads"));
  }
  if (!shape.shard_weights) {
    INFERD_RETURN_IF_ERROR(CheckDivides(config.intermediate_size, rows, "inner MLP features"));
  }
  INFERD_RETURN_IF_ERROR(CheckDivides(config.hidden_size, shape.tp_columns, "hidden features"));
  if (shape.pp > config.num_layers) {
    return FailedPreconditionError("the model's " + std::to_string(config.num_layers) +
                                   " layers cannot be split over " + std::to_string(shape.pp) +
                                   " stages");
  }
  ModelShard shard;
  shard.place = place;
  shard.whole = config;
  shard.local = config;
  shard.local.num_heads /= rows;
  shard.local.num_kv_heads = std::max(1, config.num_kv_heads / rows);
  if (!shape.shard_weights) shard.local.intermediate_size /= rows;
  const std::vector<int32_t> by_weights = SplitLayers(config, shape.pp);
  if (layers.empty()) layers = by_weights;
  INFERD_CHECK(layers.size() == static_cast<size_t>(shape.pp));
  const int64_t all = std::accumulate(layers.begin(), layers.end(), int64_t{0});
  if (all != config.num_layers || *std::min_element(layers.begin(), layers.end()) < 1) {
    return FailedPreconditionError("the stages are to have " + std::to_string(all) +
                                   " layers, the model has " + std::to_string(config.num_layers));
  }
  shard.first_layer = std::accumulate(layers.begin(), layers.begin() + place.pp_rank, 0);
  shard.local.num_layers = layers[static_cast<size_t>(place.pp_rank)];
  const int64_t vocab = config.vocab_size;
  shard.vocab_share = vocab;
  if (shape.tp() > 1) {
    const int64_t even = (vocab + shape.tp() - 1) / shape.tp();
    shard.vocab_share = (even + kVocabGrain - 1) / kVocabGrain * kVocabGrain;
    if (shard.vocab_share * (shape.tp() - 1) >= vocab) {
      return FailedPreconditionError("the model's " + std::to_string(vocab) +
                                     " tokens cannot be split over " + std::to_string(shape.tp()) +
                                     " ranks");
    }
  }
  return shard;
}

ModelShard WholeModel(const ModelConfig& config) {
  StatusOr<ModelShard> shard = ShardModel(config, RankPlace());
  INFERD_CHECK(shard.ok());
  return std::move(*shard);
}

}  // namespace inferd
