// A group of ranks in threads of the test, with a tap on the logits of the one that
// answers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "golden_files.h"
#include "inferd/runtime/rank.h"
#include "plan_driver.h"
#include "tap_ops.h"

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

// What these models cannot be split into: six query heads over four ranks, two layers
// over three stages.
inline bool IsRefused(const std::string& family, const ParallelShape& shape) {
  const bool has_three_layers = family == "mistral" || family == "qwen3";
  return (family == "llama3" && shape.tp_rows == 4) || (shape.pp == 3 && !has_three_layers);
}

class RankGroup {
 public:
  RankGroup(const std::string& backend, const ParallelShape& shape) : shape_(shape) {
    for (int r = 0; r < shape.ranks(); ++r) {
      backends_.push_back(MakeTestBackend(backend, /*threads=*/1));
      taps_.push_back(std::make_unique<TapOps>(backends_.back()->ops()));
    }
    options.memory.max_running = kSlots;
    options.memory.max_batched_tokens = 256;
    options.memory.block_size = backend == "fussy" ? FussyOps::kBlockSize : 16;
    options.memory.kv_dtype = DType::kF32;
    options.max_in_flight = shape.pp + 1;
    options.compare_tokens = true;
  }

  Status Start(const std::filesystem::path& dir) {
    options.model_dir = dir;
    std::vector<Ops*> ops;
    for (const auto& tap : taps_) ops.push_back(tap.get());
    INFERD_ASSIGN_OR_RETURN(executor_, StartThreadExecutor(options, shape_, ops, clock_, nullptr));
    driver_ = std::make_unique<PlanDriver>(*executor_, kSlots, options.memory.block_size,
                                           executor_->info().memory.num_blocks);
    driver_->carry_tokens = shape_.pp > 1;
    return OkStatus();
  }

  LocalExecutor& executor() { return *executor_; }
  PlanDriver& driver() { return *driver_; }
  // Of the rank that answers.
  const std::map<TapOps::Key, std::vector<float>>& logits() const { return LogitsOf(0); }
  // Of a rank of the last stage.
  const std::map<TapOps::Key, std::vector<float>>& LogitsOf(int tp_rank) const {
    return taps_[static_cast<size_t>((shape_.pp - 1) * shape_.tp() + tp_rank)]->logits();
  }

  static constexpr int32_t kSlots = 4;
  RankOptions options;

 private:
  const ParallelShape shape_;
  const SystemClock clock_{};
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<TapOps>> taps_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<PlanDriver> driver_;
};

}  // namespace inferd::testing
