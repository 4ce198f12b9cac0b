#include <cstdint>
#include <limits>
#include <string>

#include "inferd/engine/engine.h"

namespace inferd {
namespace {

Status CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return InvalidField(name, std::to_string(value) + " is not within " + std::to_string(low) +
                                " and " + std::to_string(high));
}

}  // namespace

Status ValidateEngineOptions(const EngineOptions& o) {
  constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
  constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
  INFERD_RETURN_IF_ERROR(CheckRange("num_blocks", o.num_blocks, 2, kMax32 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("block_size", o.block_size, 1, 4096));
  INFERD_RETURN_IF_ERROR(CheckRange("max_running", o.max_running, 1, 65536));
  INFERD_RETURN_IF_ERROR(CheckRange("max_batched_tokens", o.max_batched_tokens, 1, kMax32 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("max_model_len", o.max_model_len, 2, kMax32 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("max_queued_requests", o.queue.max_requests, 1, 1 << 20));
  INFERD_RETURN_IF_ERROR(CheckRange("max_queued_tokens", o.queue.max_tokens, 1, kMax64 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("max_queue_time_us", o.queue.max_time_us, -1, kMax64 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("max_preemptions", o.max_preemptions, 0, kMax32 / 4));
  INFERD_RETURN_IF_ERROR(CheckRange("max_rank_losses", o.max_rank_losses, 1, kMax32 / 4));
  constexpr int64_t kDayUs = 86'400'000'000;
  INFERD_RETURN_IF_ERROR(CheckRange("mixed_step_us", o.mixed_step_us, 0, kDayUs));
  INFERD_RETURN_IF_ERROR(CheckRange("priority_step_us", o.priority_step_us, 0, kDayUs));
  INFERD_RETURN_IF_ERROR(CheckRange("priority_limit_us", o.priority_limit_us, 0, kDayUs));
  INFERD_RETURN_IF_ERROR(CheckRange("step_timeout_us", o.step_timeout_us, 0, kDayUs));
  INFERD_RETURN_IF_ERROR(CheckRange("depth", o.depth, 1, 64));
  INFERD_RETURN_IF_ERROR(CheckRange("micro_batches", o.micro_batches, 1, 64));
  // A plan counts an entry's new blocks in 16 bits; a whole history comes at once.
  const int64_t blocks = (int64_t{o.max_model_len} + o.block_size - 1) / o.block_size;
  if (blocks > std::numeric_limits<uint16_t>::max()) {
    return InvalidField("block_size", "too small for max_model_len: a sequence would have " +
                                          std::to_string(blocks) + " blocks, at most 65535 work");
  }
  if ((int64_t{o.num_blocks} - 1) * o.block_size < 2) {
    return InvalidField("num_blocks", "must hold at least two tokens");
  }
  return OkStatus();
}

}  // namespace inferd
