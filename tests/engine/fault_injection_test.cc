// A test of the tests: bugs committed on purpose must be noticed.
#include <cstdio>
#include <iterator>
#include <string>

#include "engine/simulation.h"
#include "gtest/gtest.h"

namespace inferd::testing {
namespace {

struct Fault {
  const char* name;
  bool FaultInjection::*flag;
};

constexpr Fault kFaults[] = {
    {"unchained_hash", &FaultInjection::unchained_hash},
    {"ignore_scope", &FaultInjection::ignore_scope},
    {"drop_unref", &FaultInjection::drop_unref},
    {"double_unref", &FaultInjection::double_unref},
    {"keep_stale_index", &FaultInjection::keep_stale_index},
    {"serve_last_token", &FaultInjection::serve_last_token},
    {"pin_late", &FaultInjection::pin_late},
    {"release_in_flight", &FaultInjection::release_in_flight},
    {"skip_fence", &FaultInjection::skip_fence},
    {"preempt_in_flight", &FaultInjection::preempt_in_flight},
    {"publish_before_computed", &FaultInjection::publish_before_computed},
    {"publish_corrupted", &FaultInjection::publish_corrupted},
    {"forget_generated", &FaultInjection::forget_generated},
    {"leak_slot", &FaultInjection::leak_slot},
    {"deliver_after_finish", &FaultInjection::deliver_after_finish},
    {"strand_siblings", &FaultInjection::strand_siblings},
    {"overlook_stop", &FaultInjection::overlook_stop},
    {"sample_every_chunk", &FaultInjection::sample_every_chunk},
    {"keep_lost_content", &FaultInjection::keep_lost_content},
    {"keep_pending", &FaultInjection::keep_pending},
    {"repeat_last_token", &FaultInjection::repeat_last_token},
    {"release_to_lost", &FaultInjection::release_to_lost},
    {"end_innocent", &FaultInjection::end_innocent},
};
static_assert(sizeof(FaultInjection) == std::size(kFaults), "every fault is tried");

constexpr uint64_t kMaxSeeds = 250;

// The first complaint that contains `about` within kMaxSeeds seeds at depths 1 to
// 4, or an empty string.
std::string Hunt(SimulationOptions options, const std::string& about = "",
                 uint64_t* seeds_needed = nullptr) {
  SimulationTotals totals;
  for (uint64_t seed = 1; seed <= kMaxSeeds; ++seed) {
    for (int depth = 1; depth <= 4; ++depth) {
      options.seed = seed;
      options.depth = depth;
      const Status status = RunSimulation(options, totals);
      if (status.ok() || status.message().find(about) == std::string::npos) continue;
      if (seeds_needed != nullptr) *seeds_needed = seed;
      return status.message();
    }
  }
  return "";
}

class EveryFault : public ::testing::TestWithParam<Fault> {};

TEST_P(EveryFault, IsNoticed) {
  SimulationOptions options;
  options.faults.*GetParam().flag = true;
  uint64_t seeds = 0;
  const std::string complaint = Hunt(options, "", &seeds);
  EXPECT_NE(complaint, "") << "nobody noticed " << GetParam().name;
  std::printf("%s: seed %llu: %s\n", GetParam().name, static_cast<unsigned long long>(seeds),
              complaint.c_str());
}

// Without the bookkeeping checks, by what a client or a rank sees alone.
TEST_P(EveryFault, IsSeenFromOutside) {
  SimulationOptions options;
  options.faults.*GetParam().flag = true;
  options.check_integrity = false;
  uint64_t seeds = 0;
  const std::string complaint = Hunt(options, "", &seeds);
  EXPECT_NE(complaint, "") << "nobody noticed " << GetParam().name;
  std::printf("%s: seed %llu: %s\n", GetParam().name, static_cast<unsigned long long>(seeds),
              complaint.c_str());
}

INSTANTIATE_TEST_SUITE_P(Faults, EveryFault, ::testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

// Wrong text, with every other check off.
std::string HuntForWrongText(bool FaultInjection::*flag, FakeRanks::Order order) {
  SimulationOptions options;
  options.faults.*flag = true;
  options.check_integrity = false;
  options.check_plans = false;
  options.any_order = false;
  options.order = order;
  return Hunt(options, "the text is wrong");
}

// Why the fake runs ahead: on ranks that execute plans in order, whoever lets go of
// something in flight corrupts no text.
class FaultsInFlight : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultsInFlight, CorruptTextOnlyWhenRanksRunAhead) {
  EXPECT_NE(HuntForWrongText(GetParam().flag, FakeRanks::Order::kRandom), "");
  EXPECT_NE(HuntForWrongText(GetParam().flag, FakeRanks::Order::kNewestFirst), "");
  EXPECT_EQ(HuntForWrongText(GetParam().flag, FakeRanks::Order::kInOrder), "");
}

INSTANTIATE_TEST_SUITE_P(
    Faults, FaultsInFlight,
    ::testing::Values(Fault{"release_in_flight", &FaultInjection::release_in_flight},
                      Fault{"skip_fence", &FaultInjection::skip_fence},
                      Fault{"preempt_in_flight", &FaultInjection::preempt_in_flight}),
    [](const auto& fault) { return std::string(fault.param.name); });

}  // namespace
}  // namespace inferd::testing
