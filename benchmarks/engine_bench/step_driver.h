#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/exec/executor.h"

namespace inferd::bench {

struct DriverLimits {
  int32_t max_streams = 1;
  int32_t max_batched_tokens = 512;
  int32_t block_size = 16;
  int32_t num_blocks = 0;  // padding block included
  int max_in_flight = 2;
};

// Feeds an executor with the plans that a scheduler would write for streams
// that start and go on together, without queues, clients or text. One thread.
class StepDriver {
 public:
  StepDriver(Executor& executor, const DriverLimits& limits)
      : executor_(executor), limits_(limits) {}

  // Ends what ran before and computes `prompts` (one per stream, of equal
  // length), in steps of up to max_batched_tokens rows, with one greedy token at
  // the end of each.
  Status Prefill(const std::vector<std::vector<TokenId>>& prompts);
  // `tokens` more tokens of every stream, one step each.
  Status Decode(int32_t tokens);

 private:
  struct Stream {
    int32_t known = 0;     // tokens the rank has
    int32_t computed = 0;  // of these, in the KV cache
    int32_t blocks = 0;
  };

  // One step's rows of stream `slot`.
  Status AddEntry(SlotId slot, int32_t count, bool on_device, BatchPlan* plan);
  Status Submit(std::shared_ptr<const BatchPlan> plan);
  Status AwaitOne();
  Status AwaitAll();

  Executor& executor_;
  const DriverLimits limits_;
  std::vector<Stream> streams_;
  StepId step_ = 0;
  int in_flight_ = 0;
  BlockId next_block_ = 1;
};

}  // namespace inferd::bench
