#include "runtime/chaos/strikes.h"

#include <csignal>
#include <random>

#include "runtime/chaos/chaos_run.h"
#include "runtime/chaos/record.h"
#include "runtime/stack_dump.h"

namespace inferd::testing {

std::string CellName(const Cell& cell) {
  return std::string(NameOf(cell.phase)) + "_" + NameOf(cell.fault) + "_" + NameOf(cell.shape);
}

const char* WhyNoRank(Phase phase, const ParallelShape& shape) {
  if (phase == Phase::kMeeting && shape.ranks() == 1) return "one rank meets nobody";
  if (IsSum(phase) && shape.tp() == 1) return "a stage of one rank sums nothing";
  if (IsHandOver(phase) && shape.pp == 1) return "one stage hands nothing over";
  return "";
}

Strike StrikeAt(Phase phase, Fault fault, const ParallelShape& shape, int first_rank) {
  std::mt19937_64 random(ChaosSeed() * 10'000 + static_cast<uint64_t>(phase) * 100 +
                         static_cast<uint64_t>(fault) * 10 + static_cast<uint64_t>(shape.ranks()));
  const auto below = [&random](int n) {
    return static_cast<int>(random() % static_cast<uint64_t>(n));
  };
  const int tp = shape.tp();
  int rank = first_rank + below(shape.ranks() - first_rank);
  // Here the first stage gives and the last takes.
  if (phase == Phase::kBeforeHandOver) rank = below(tp);
  if (phase == Phase::kInHandOver || phase == Phase::kAfterHandOver) {
    rank = (shape.pp - 1) * tp + below(tp);
  }
  Strike strike{phase, fault, rank, 12 + below(6)};  // past the first steps, which may take longer
  if (IsSum(phase)) strike.nth = 60 + below(12);     // several in a step
  if (phase == Phase::kPrefill || phase == Phase::kLoading) strike.nth = below(4);
  const bool once = phase != Phase::kLoading && IsOfStart(phase);
  if (once || phase == Phase::kIdle || phase == Phase::kStop) strike.nth = 0;
  return strike;
}

void Continuer::Look(const Scene& scene) {
  const pid_t pid = scene.stopped_pid;
  if (pid == 0 || !scene.over() || continued_) return;
  const int64_t now_us = clock_.NowUs();
  if (stopped_us_ < 0 && runtime::IsStopped(pid)) stopped_us_ = now_us;
  if (stopped_us_ < 0 || now_us - stopped_us_ < pause_us_) return;
  if (runtime::IsStopped(pid)) (void)kill(pid, SIGCONT);  // else it was ended
  continued_ = true;
}

}  // namespace inferd::testing
