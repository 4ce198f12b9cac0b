#pragma once

#include <cstdint>

namespace inferd {

// Why a choice ended.
enum class FinishReason : uint8_t {
  kNone,
  kStopToken,  // the event's token is the stop token
  kLength,     // max_new_tokens or the context is used up
  kCancelled,  // by CancelRequest, FinishChoice or the engine's end
  kDeadline,
  kCorrupted,     // logits were not finite
  kPreempted,     // more preemptions than allowed, or the request can never fit
  kEngineDead,    // the executor failed
  kQueueTimeout,  // waited longer than QueueLimits::max_time_us; nothing was computed
  kRanksLost,     // the ranks were lost, and it was not to be resumed
  kPoison,        // the ranks were lost again and again while they computed it
};
inline constexpr int kNumFinishReasons = 11;

}  // namespace inferd
