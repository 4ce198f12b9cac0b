#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/model/model_shard.h"
#include "inferd/ops/ops.h"

namespace inferd {

// What the operator wants; zero means derived.
struct MemoryRequest {
  int32_t max_model_len = 0;  // 0: the model's max_context
  int32_t max_running = 64;
  int32_t max_batched_tokens = 512;
  int32_t block_size = 16;
  DType kv_dtype = DType::kBF16;  // kF32, kBF16, kI8 or kF8E4M3
  // The KV cache, first one set wins: blocks; bytes; otherwise what
  // `max_running` sequences of full length need, but at most `kv_fraction` of
  // the memory left beside the model.
  int32_t num_blocks = 0;  // padding block included
  int64_t kv_bytes = 0;
  double kv_fraction = 0.5;
  int64_t available_bytes = 0;  // 0: not known, nothing is refused
  bool stream_weights = false;  // layers stay in their file (PackedCacheOptions::stream)
};

// Where a rank's memory goes. Computed from config.json and the checkpoint's headers
// alone, before any of it is taken.
struct MemoryPlan {
  int32_t max_model_len = 0;
  int64_t weight_bytes = 0;        // matrices and vectors, at the checkpoint's precision
  int64_t streamed_bytes = 0;      // of layers in their file; the few in memory count above
  int64_t mapped_bytes = 0;        // embedding rows, read from their file as needed;
                                   // 0 where they are those of the head (Ops::TableOf)
  int64_t rope_bytes = 0;          // cos and sin of every position
  int64_t workspace_bytes = 0;     // activations of the largest step
  int64_t scratch_bytes = 0;       // of the ops
  int64_t kv_bytes_per_block = 0;  // all layers
  int32_t num_blocks = 0;          // padding block included
  int64_t kv_bytes = 0;
  int64_t overhead_bytes = 0;  // Ops::OverheadBytes
  int64_t copied_bytes = 0;    // of these, the rank's rows of the embedding where the ops copy it
  int64_t total_bytes = 0;     // all of it but what stays in files

  int64_t KvTokens(int32_t block_size) const { return int64_t{num_blocks - 1} * block_size; }
};

// What a rank's memory is for, in bytes.
struct MemoryUse {
  int64_t weights = 0;  // with the embedding, where it is copied
  int64_t kv_cache = 0;
  int64_t activations = 0;  // of the largest step, with the ops' scratch memory
  int64_t other = 0;        // tables of positions, padding, libraries, the words of a step

  int64_t total() const { return weights + kv_cache + activations + other; }
  bool operator==(const MemoryUse&) const = default;
};
// All of total_bytes.
MemoryUse UseOf(const MemoryPlan& plan);

// FAILED_PRECONDITION when the checkpoint does not fit the configuration or a
// request is out of range; RESOURCE_EXHAUSTED, with the numbers, when it is too
// large for the memory available. What is worth a log line is added to `notes`.
StatusOr<MemoryPlan> PlanMemory(const ModelShard& shard, const Checkpoint& checkpoint,
                                const Ops& ops, const MemoryRequest& request,
                                std::vector<std::string>* notes);
// Of a rank that is alone.
StatusOr<MemoryPlan> PlanMemory(const ModelConfig& config, const Checkpoint& checkpoint,
                                const Ops& ops, const MemoryRequest& request,
                                std::vector<std::string>* notes);

}  // namespace inferd
