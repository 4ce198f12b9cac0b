#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/plan/finish_reason.h"
#include "inferd/plan/request_spec.h"
#include "kv/kv_manager.h"

namespace inferd {

struct Request;
struct TenantAccount;

// Who goes first of one tenant's: lower ranks, then earlier arrivals, then the first choice of a
// request. Keys never change: a preempted sequence keeps its place, and so does one
// that grows old (see PriorityAgeing).
struct QueueKey {
  int64_t rank = 0;
  uint64_t arrival = 0;
  int32_t choice = 0;
  friend auto operator<=>(const QueueKey&, const QueueKey&) = default;
};

enum class SequenceState : uint8_t {
  kHeld,      // waits for a sibling to publish their common prompt
  kWaiting,   // in the waiting queue
  kRunning,   // has a slot, and blocks for all it has computed
  kFinished,  // its end is reported; slot and blocks leave once nothing is in flight
  kReaped,    // holds nothing
};

// One choice of one request. Engine thread only.
//
//   S1 0 <= num_computed <= tokens + num_pending until it is finished
//   S2 table.blocks.size() * block_size >= num_computed while it runs
//   S3 0 <= num_pending <= in_flight
//   R1 slot and blocks leave only when in_flight == 0
struct Sequence {
  Request* request = nullptr;
  QueueKey key;
  SequenceState state = SequenceState::kHeld;
  FinishReason finish = FinishReason::kNone;

  std::vector<TokenId> tokens;  // prompt and what was drawn, as far as the host knows
  int32_t num_prompt = 0;
  int32_t num_computed = 0;  // tokens whose KV is written by a submitted plan
  int32_t num_pending = 0;   // tokens drawn by a submitted plan and not yet known
  int32_t in_flight = 0;     // submitted plans that name it and are not committed

  SlotId slot = kNoSlot;
  BlockTable table;
  int32_t num_sent_blocks = 0;  // leading blocks the ranks were told
  int32_t num_admitted = 0;     // tokens the ranks were told at the last admission
  uint64_t drained_in = 0;      // the round that leaves it out so that it may be preempted

  int32_t num_preemptions = 0;
  int32_t num_losses = 0;  // of the ranks while it was in flight, since its last token
  bool lost = false;       // to be resumed: a loss put it back into the queue
  bool was_scheduled = false;
  bool was_reported = false;  // its first output is out
  int32_t cached_tokens = 0;  // prompt tokens from the cache at the first admission
  int64_t queue_us = 0;       // from Submit to being scheduled first

  // The history the ranks will know when everything submitted is done.
  int32_t NumKnown() const { return static_cast<int32_t>(tokens.size()) + num_pending; }
  int32_t NumGenerated() const { return NumKnown() - num_prompt; }
};

// One request and its choices. Lives until the last choice is reaped.
struct Request {
  TenantAccount* account = nullptr;
  RequestSpec spec;  // its prompt has moved into the first choice
  int64_t prompt_tokens = 0;
  int64_t submitted_us = 0;
  std::vector<Sequence> choices;  // never resized: plans in flight point into it
  int32_t next_held = 0;          // choices from here on are held back
  int32_t live_choices = 0;       // not finished
  int32_t unreaped_choices = 0;
  bool queued = true;  // no choice was ever scheduled
};

// One event of one choice, in the order of the Engine contract. `first_top` and
// `num_top` point into the result that was committed last.
struct SequenceOutput {
  RequestId request = 0;
  int32_t choice = 0;
  TokenId token = -1;
  float logprob = 0;
  int32_t first_top = 0;
  int32_t num_top = 0;
  FinishReason finish = FinishReason::kNone;
  int32_t cached_tokens = 0;  // on the first output only, as below
  int64_t queue_us = 0;
};

}  // namespace inferd
