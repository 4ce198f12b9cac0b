#pragma once

#include <cstdint>
#include <string>

#include "engine/fake_ranks.h"
#include "inferd/base/status.h"
#include "kv/fault_injection.h"

namespace inferd::testing {

// One random workload from one seed: options, arrivals, shared prefixes, choices,
// stop tokens, priorities, cancels, deadlines, bad logits, and ranks that run ahead and
// die.
struct SimulationOptions {
  uint64_t seed = 0;
  int depth = 1;
  FakeRanks::Order order = FakeRanks::Order::kRandom;
  bool any_order = true;        // draw `order` from the seed
  bool check_plans = true;      // P1 to P3, by the ranks
  bool check_integrity = true;  // S, B and the census, after every turn
  bool losses = true;           // in some workloads the ranks die now and then
  bool pipeline = false;        // tokens come back to the ranks with the plans
  FaultInjection faults;
};

struct SimulationTotals {
  uint64_t turns = 0;
  uint64_t plans = 0;
  uint64_t tokens = 0;
  uint64_t preemptions = 0;
  uint64_t cached_tokens = 0;
  uint64_t finished[kNumFinishReasons] = {};
  uint64_t refused = 0;
  uint64_t losses = 0;   // of the ranks
  uint64_t resumed = 0;  // sequences, after them
};

// OK when every promise held: each completed text equals its oracle's and each other
// is a prefix of it, exactly one end per choice and for a reason that was given, work
// always progressed, and in the end nothing was held. Adds to `totals`.
Status RunSimulation(const SimulationOptions& options, SimulationTotals& totals);

}  // namespace inferd::testing
