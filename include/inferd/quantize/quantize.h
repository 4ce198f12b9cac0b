// Rewrites a checkpoint with quantised linear layers, offline.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/ops/ops.h"

namespace inferd {

enum class QuantizeMethod : uint8_t {
  kInt8,     // 8-bit weights, a scale per row; activations are rounded when they are used
  kFp8,      // E4M3 weights, a scale per row; activations are rounded when they are used
  kInt4Rtn,  // 4-bit weights in groups, each rounded to its nearest step
  kInt4Awq,  // the same after scaling inputs by how large they get, and clipping
};

struct QuantizeOptions {
  std::filesystem::path input;   // config.json, safetensors in float, tokenizer
  std::filesystem::path output;  // must not exist, or be an empty directory
  QuantizeMethod method = QuantizeMethod::kInt8;
  // The output matrix in 8 bits as well. A model that shares it with its embedding gets
  // one of its own. With int4 that is a mixture that others than inferd do not read.
  bool int8_head = false;
  int32_t group_size = 128;  // int4: inputs that share a scale and a zero point
  // int4-awq: UTF-8 text, of which the first MiB is read; empty: a text of our
  // own. Names of special tokens in it become these tokens.
  std::filesystem::path calibration;
  int threads = 1;                                 // for rounding; the ops have their own
  int64_t max_shard_bytes = 4'000'000'000;         // of one file
  std::function<void(std::string_view)> progress;  // one line a call; may be empty
};

// Writes `output`: safetensors that inferd and others load, config.json with a
// quantization_config, and what goes with a checkpoint (tokenizer, chat template,
// licences). It appears whole or not at all: it is written beside itself and
// renamed. Embedding and norms keep their precision,
// and so does lm_head unless int8_head. `ops` works on the
// host's memory and is this call's alone meanwhile. One line of what is wrong
// otherwise. The result does not depend on the number of threads.
Status QuantizeCheckpoint(const QuantizeOptions& options, Ops& ops);

}  // namespace inferd
