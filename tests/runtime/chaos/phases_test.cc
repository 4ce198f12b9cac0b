// Faults of a rank's process at every point of its life and of a step, on one host: a table of
// phases, faults and shapes. After each: every accepted request ended once and with the text of an
// undisturbed run, no block is lost, and no process is left.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "gtest/gtest.h"
#include "runtime/chaos/chaos_run.h"
#include "runtime/chaos/record.h"
#include "runtime/chaos/strikes.h"

namespace inferd::testing {
namespace {

constexpr int64_t kPauseUs = 200'000;
constexpr Fault kProcessFaults[] = {Fault::kKill, Fault::kSegv, Fault::kStop, Fault::kMemory,
                                    Fault::kPause};

ChaosRecord* const record =
    dynamic_cast<ChaosRecord*>(::testing::AddGlobalTestEnvironment(new ChaosRecord("One host")));

// Why a cell makes no sense; empty: it does.
std::string WhyNot(const Cell& cell) {
  if (cell.phase == Phase::kStop && cell.fault == Fault::kPause) {
    return "who is let go of for good is stopped for good";
  }
  return WhyNoRank(cell.phase, cell.shape);
}

std::vector<Cell> Table() {
  const ParallelShape shapes[] = {{1, 1, 1}, {2, 1, 1}, {1, 1, 2}, {2, 1, 2}};
  std::vector<Cell> cells;
  for (int p = 0; p < kNumPhases; ++p) {
    // In every run: each phase with SIGKILL and one other fault, each in a shape that has it.
    int kept = 0;
    for (size_t f = 0; f < std::size(kProcessFaults); ++f) {
      const size_t turn = (static_cast<size_t>(p) + ChaosSeed()) % (std::size(kProcessFaults) - 1);
      const bool in_every_run = f == 0 || f == 1 + turn;
      for (size_t s = 0; s < std::size(shapes); ++s) {
        const Cell cell{static_cast<Phase>(p), kProcessFaults[f],
                        shapes[(s + static_cast<size_t>(p) + f) % 4]};
        if (const std::string why = WhyNot(cell); !why.empty()) {
          if (AllCases()) record->AddReason(why, CellName(cell));
          continue;
        }
        if (!AllCases() && (!in_every_run || kept > (f == 0 ? 0 : 1))) continue;
        ++kept;
        cells.push_back(cell);
      }
    }
  }
  return cells;
}

class EveryPhase : public ::testing::TestWithParam<Cell> {};

TEST_P(EveryPhase, LosesNothing) {
  const Cell& cell = GetParam();
  ChaosRun run(cell.shape);
  Scene& scene = run.scene();
  const Strike strike = StrikeAt(cell.phase, cell.fault, cell.shape);
  // Ranks start again after a loss.
  if (IsOfStart(cell.phase)) {
    scene.strikes[scene.num_strikes++] = {Phase::kDecode, Fault::kKill, strike.rank, 10};
  }
  scene.strikes[scene.num_strikes++] = strike;
  ASSERT_TRUE(run.Start().ok()) << run.log();
  Continuer go_on(kPauseUs);
  const auto meanwhile = [&] {
    if (cell.fault == Fault::kPause) go_on.Look(scene);
  };
  const bool at_end = cell.phase == Phase::kStop;
  const uint64_t losses =
      IsOfStart(cell.phase) ? 1 : (at_end || cell.fault == Fault::kPause ? 0 : 1);
  run.Ask();
  // That a rank is stopped shows when there is a plan.
  if (cell.phase == Phase::kIdle && cell.fault == Fault::kStop) {
    ASSERT_TRUE(run.AwaitStruck(meanwhile)) << run.log();
  } else if (!at_end) {
    ASSERT_TRUE(run.AwaitCalm(losses, meanwhile)) << run.log();
  }
  run.Ask();
  if (!at_end) {
    ASSERT_TRUE(run.AwaitCalm(losses, meanwhile)) << run.log();
    run.ExpectNoneLost();
  }
  run.End();
  EXPECT_TRUE(scene.over());
  if (at_end) run.ExpectNoneLost();
  EXPECT_EQ(run.log().find("at the end:"), std::string::npos) << run.log();
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a process is left";
  EXPECT_EQ(errno, ECHILD);
  if (HasFailure()) std::fputs(run.log().c_str(), stdout);
  record->Add(NameOf(cell.phase), NameOf(cell.fault), run.outcome());
}

INSTANTIATE_TEST_SUITE_P(Table, EveryPhase, ::testing::ValuesIn(Table()),
                         [](const auto& cell) { return CellName(cell.param); });

}  // namespace
}  // namespace inferd::testing
