// Strikes of a table's cells, and what both tables need of phases.
#pragma once

#include <sys/types.h>

#include <string>

#include "inferd/base/clock.h"
#include "inferd/model/parallel.h"
#include "runtime/chaos/scene.h"

namespace inferd::testing {

inline bool IsSum(Phase phase) { return phase >= Phase::kBeforeSum && phase <= Phase::kAfterSum; }
inline bool IsHandOver(Phase phase) {
  return phase >= Phase::kBeforeHandOver && phase <= Phase::kAfterHandOver;
}
inline bool IsOfStart(Phase phase) { return phase <= Phase::kWarmUp; }

// A case of a table.
struct Cell {
  Phase phase;
  Fault fault;
  ParallelShape shape;
};
std::string CellName(const Cell& cell);

// Why no rank of the shape passes the phase; empty: one does.
const char* WhyNoRank(Phase phase, const ParallelShape& shape);

// At that phase, of ranks from `first_rank` on where the phase is not of others; the seed says
// which and when. Without ranks of `first_rank` on at the phase, any.
Strike StrikeAt(Phase phase, Fault fault, const ParallelShape& shape, int first_rank = 0);

// Lets a rank that paused go on `pause_us` after it stopped.
class Continuer {
 public:
  explicit Continuer(int64_t pause_us) : pause_us_(pause_us) {}
  void Look(const Scene& scene);

 private:
  const int64_t pause_us_;
  const SystemClock clock_;
  int64_t stopped_us_ = -1;
  bool continued_ = false;
};

}  // namespace inferd::testing
