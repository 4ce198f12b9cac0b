// Ranks that each have an emulated device, in threads of the test.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/tapped_group.h"

namespace inferd::testing {

inline RankOptions EmulatedRankOptions(const std::string& family, int32_t slots) {
  RankOptions options;
  options.model_dir = GoldenDir(family);
  options.memory.max_running = slots;
  options.memory.max_batched_tokens = 96;
  options.memory.max_model_len = 256;
  options.memory.kv_dtype = DType::kF32;
  return options;
}

class EmulatedGroup : public TappedGroup {
 public:
  static constexpr int32_t kSlots = 4;

  EmulatedGroup(const std::string& family, const ParallelShape& shape)
      : TappedGroup(shape, EmulatedRankOptions(family, kSlots)) {
    // Which keeps steps from overlapping.
    options.compare_tokens = shape.tp_columns > 1;
  }

  // `tap`: to look at the logits.
  Status Start(bool tap = true) {
    ResetFakeCuda();
    SetFakeDevices(shape_.ranks());
    for (int r = 0; r < shape_.ranks(); ++r) {
      BackendOptions backend;
      backend.device = r;
      INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Backend> made, MakeCudaBackend(backend));
      Add(std::move(made));
    }
    return StartRanks(tap);
  }
};

}  // namespace inferd::testing
