// A group of ranks on a backend of the tests, and what golden checkpoints are split into.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "golden_files.h"
#include "tapped_group.h"

namespace inferd::testing {

// "tp2", "tp2_pp3", "tp2x2", "tp2_sharded": as tests are named.
inline std::string ShapeName(const ParallelShape& shape) {
  std::string name = "tp" + std::to_string(shape.tp_rows);
  if (shape.tp_columns > 1) name += "x" + std::to_string(shape.tp_columns);
  if (shape.pp > 1) name += "_pp" + std::to_string(shape.pp);
  return shape.shard_weights ? name + "_sharded" : name;
}

// What the golden checkpoints are split into.
inline const std::vector<ParallelShape>& GoldenShapes() {
  static const std::vector<ParallelShape> shapes = {{1, 1, 1}, {2, 1, 1}, {4, 1, 1}, {1, 1, 2},
                                                    {1, 1, 3}, {2, 1, 2}, {2, 2, 1}, {1, 2, 1}};
  return shapes;
}

// What they are split into over several hosts.
inline const std::vector<ParallelShape>& HostShapes() {
  static const std::vector<ParallelShape> shapes = {{2, 1, 1}, {4, 1, 1}, {1, 1, 2}, {1, 1, 3},
                                                    {2, 1, 2}, {2, 1, 3}, {2, 2, 1}, {1, 2, 1}};
  return shapes;
}

inline constexpr int32_t kGoldenSlots = 4;

// Of ranks that run golden checkpoints, wherever they are.
inline RankOptions GoldenRankOptions() {
  RankOptions options;
  options.memory.max_running = kGoldenSlots;
  options.memory.max_batched_tokens = 256;
  options.memory.block_size = 16;
  options.memory.kv_dtype = DType::kF32;
  options.compare_tokens = true;
  return options;
}

class RankGroup : public TappedGroup {
 public:
  RankGroup(const std::string& backend, const ParallelShape& shape)
      : TappedGroup(shape, GoldenRankOptions()) {
    for (int r = 0; r < shape.ranks(); ++r) Add(MakeTestBackend(backend, /*threads=*/1));
    if (backend == "fussy") options.memory.block_size = FussyOps::kBlockSize;
  }

  Status Start(const std::filesystem::path& dir) {
    options.model_dir = dir;
    return StartRanks(/*tap=*/true);
  }
};

}  // namespace inferd::testing
