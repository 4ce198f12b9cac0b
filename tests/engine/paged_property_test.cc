// Random workloads on ranks that run ahead, compared with an unpaged oracle.
#include <cstdio>
#include <cstdlib>
#include <tuple>

#include "engine/simulation.h"
#include "gtest/gtest.h"
#include "support/sanitizers.h"

namespace inferd::testing {
namespace {

// INFERD_SIM_SEEDS widens the search; INFERD_SIM_FIRST begins it elsewhere.
uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// 20,000 workloads take two seconds, and minutes under a sanitizer, which has its own
// questions and needs fewer.
constexpr uint64_t kSeeds = kSanitized ? 500 : 5000;

class PagedProperty : public ::testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(PagedProperty, TextEqualsTheUnpagedOracle) {
  const uint64_t first = FromEnvironment("INFERD_SIM_FIRST", 1);
  const uint64_t num_seeds = FromEnvironment("INFERD_SIM_SEEDS", kSeeds);
  const int depth = std::get<0>(GetParam());
  SimulationTotals totals;
  for (uint64_t seed = first; seed < first + num_seeds; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.depth = depth;
    options.pipeline = std::get<1>(GetParam());
    const Status status = RunSimulation(options, totals);
    ASSERT_TRUE(status.ok()) << "seed " << seed << " depth " << depth << ": " << status.ToString();
  }
  std::printf(
      "depth %d: %llu seeds, %llu turns, %llu plans, %llu tokens, %llu preemptions, "
      "%llu cached tokens, %llu refused, %llu losses, %llu resumed, ends",
      depth, static_cast<unsigned long long>(num_seeds),
      static_cast<unsigned long long>(totals.turns), static_cast<unsigned long long>(totals.plans),
      static_cast<unsigned long long>(totals.tokens),
      static_cast<unsigned long long>(totals.preemptions),
      static_cast<unsigned long long>(totals.cached_tokens),
      static_cast<unsigned long long>(totals.refused),
      static_cast<unsigned long long>(totals.losses),
      static_cast<unsigned long long>(totals.resumed));
  for (const uint64_t n : totals.finished) std::printf(" %llu", static_cast<unsigned long long>(n));
  std::printf("\n");
  // The workloads must reach what they are there for.
  if (num_seeds < 500) return;
  EXPECT_GT(totals.preemptions, num_seeds / 4);
  EXPECT_GT(totals.cached_tokens, num_seeds);
  EXPECT_GT(totals.losses, num_seeds / 2);
  EXPECT_GT(totals.resumed, num_seeds / 2);
  for (const FinishReason reason :
       {FinishReason::kStopToken, FinishReason::kLength, FinishReason::kCancelled,
        FinishReason::kDeadline, FinishReason::kCorrupted, FinishReason::kPreempted,
        FinishReason::kQueueTimeout, FinishReason::kRanksLost, FinishReason::kPoison}) {
    EXPECT_GT(totals.finished[static_cast<size_t>(reason)], 0U) << static_cast<int>(reason);
  }
}

INSTANTIATE_TEST_SUITE_P(Depths, PagedProperty,
                         ::testing::Values(std::tuple(1, false), std::tuple(2, false),
                                           std::tuple(3, false), std::tuple(4, false),
                                           std::tuple(2, true), std::tuple(3, true),
                                           std::tuple(4, true)));

}  // namespace
}  // namespace inferd::testing
