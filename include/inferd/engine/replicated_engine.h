// Several engines as one: data parallelism within a daemon.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "inferd/base/random.h"
#include "inferd/engine/engine.h"

namespace inferd {

inline constexpr int kMaxReplicas = 32;

struct RouterOptions {
  int32_t block_size = 16;  // tokens, of the replicas' caches
  // Blocks of prompts whose replica is remembered: about what the replicas' caches hold
  // together. 0: none, as without prefix caching.
  int64_t max_blocks = 0;
};

// An engine that hands each request to one of `replicas` (1 to kMaxReplicas, alike, all
// with the same sink). Their answers do not depend on which one it is.
//
// A request goes where the fewest tokens stand before its first one:
//   prompt tokens that wait there + its own that are not in the cache there
//   + kTokensPerLiveRequest for each request that lives there;
// of equals, to the one after the last one chosen. What is in a cache is a guess from the
// prompts sent there, of which `max_blocks` are remembered by a hash; a wrong guess costs
// time and nothing else. A replica that refuses (its queue is full, its ranks restart, it
// is dead, the deadline would pass) is passed over for the next; when all refuse, the
// first one that lives says why. Only INVALID_ARGUMENT is final.
//
// A replica whose ranks died for good is left out; its requests end as those of an engine
// do. The whole is dead when all are. Stats() are sums; of the step under way, those of
// the replica nearest to its limit. SetQueueLimits holds for each replica.
std::unique_ptr<Engine> MakeReplicatedEngine(std::vector<std::unique_ptr<Engine>> replicas,
                                             const RouterOptions& options, EntropySource& entropy);

// What a live request weighs against tokens that wait: it takes a place in every step.
inline constexpr int64_t kTokensPerLiveRequest = 32;

}  // namespace inferd
