#include "model/shard_rules.h"

#include <algorithm>
#include <string>

#include "model/quantization_tensors.h"

namespace inferd::model {
namespace {

// 4-bit values in a stored word.
constexpr int64_t kPacked = 8;
// The smallest group of inputs that shares a scale (RawLinear).
constexpr int64_t kLeastGroup = 32;

struct Range {
  int64_t begin = 0;
  int64_t count = 0;
};

Range Part(int64_t total, int parts, int index) { return {total / parts * index, total / parts}; }

}  // namespace

LinearBlock BlockOf(const ModelShard& shard, LinearRole role, int64_t out, int64_t in) {
  const ParallelShape& shape = shard.place.shape;
  if (shape.shard_weights && role != LinearRole::kHead) return {0, out, 0, in};
  const int row = shard.place.row();
  const int column = shard.place.column();
  Range outs{0, out};
  Range ins{0, in};
  switch (role) {
    case LinearRole::kQuery:
    case LinearRole::kGateUp:
      outs = Part(out, shape.tp_rows, row);
      ins = Part(in, shape.tp_columns, column);
      break;
    case LinearRole::kKeyValue: {
      const int64_t heads = shard.whole.num_kv_heads;
      outs.count = shard.local.num_kv_heads * (out / heads);
      outs.begin = row * heads / shape.tp_rows * (out / heads);
      ins = Part(in, shape.tp_columns, column);
      break;
    }
    case LinearRole::kOutput:
    case LinearRole::kDown:
      outs = Part(out, shape.tp_columns, column);
      ins = Part(in, shape.tp_rows, row);
      break;
    case LinearRole::kHead:
      outs.begin = shard.place.tp_rank * shard.vocab_share;
      outs.count = std::min(shard.vocab_share, out - outs.begin);
      break;
    case LinearRole::kReplicated:
      break;
  }
  return {outs.begin, outs.count, ins.begin, ins.count};
}

int64_t GroupOfBlock(const LinearBlock& block, int64_t group) {
  if (block.in_count >= group) {
    return block.in_begin % group == 0 && block.in_count % group == 0 ? group : 0;
  }
  // Within one group: blocks are as wide as they are far from the start.
  return group % block.in_count == 0 && block.in_begin % block.in_count == 0 ? block.in_count : 0;
}

Status CheckBlock(const QuantizationConfig& config, const Checkpoint& checkpoint,
                  std::string_view name, const LinearBlock& block, int64_t in) {
  const QuantMethod method = StoredAs(config, checkpoint, name);
  if (method == QuantMethod::kNone || method == QuantMethod::kInt8) return OkStatus();
  const auto refuse = [&](const std::string& why) {
    return FailedPreconditionError("layer \"" + std::string(name) +
                                   "\" cannot be split over so many ranks: " + why);
  };
  if (method == QuantMethod::kFp8) {
    const int64_t inputs = config.block_inputs;
    const int64_t shared = inputs > 0 ? GroupOfBlock(block, inputs) : block.in_count;
    if (shared == block.in_count || (shared > 0 && shared % kLeastGroup == 0)) return OkStatus();
    return refuse("a rank's " + std::to_string(block.in_count) + " inputs do not meet blocks of " +
                  std::to_string(inputs));
  }
  if (block.out_begin % kPacked != 0 || block.out_count % kPacked != 0) {
    return refuse("a rank's " + std::to_string(block.out_count) +
                  " outputs are not a multiple of 8");
  }
  const int64_t group = GroupSize(config, in);
  const int64_t local = GroupOfBlock(block, group);
  if (local == 0 || local % kLeastGroup != 0) {
    return refuse("a rank's " + std::to_string(block.in_count) +
                  " inputs do not meet its groups of " + std::to_string(group) +
                  ", or leave fewer than " + std::to_string(kLeastGroup));
  }
  return OkStatus();
}

}  // namespace inferd::model
