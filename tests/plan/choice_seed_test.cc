#include <set>

#include "gtest/gtest.h"
#include "inferd/plan/request_spec.h"

namespace inferd {
namespace {

TEST(ChoiceSeedTest, TheFirstChoiceUsesTheRequestsOwn) {
  EXPECT_EQ(ChoiceSeed(0, 0), 0U);
  EXPECT_EQ(ChoiceSeed(12345, 0), 12345U);
}

TEST(ChoiceSeedTest, ChoicesAndNeighbouringSeedsDiffer) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (int32_t choice = 0; choice < 16; ++choice) seen.insert(ChoiceSeed(seed, choice));
  }
  EXPECT_EQ(seen.size(), 1600U);
}

TEST(ChoiceSeedTest, NeverChanges) {
  // Clients reproduce answers by their seeds, across versions too.
  EXPECT_EQ(ChoiceSeed(42, 1), 7858602823144587558U);
  EXPECT_EQ(ChoiceSeed(42, 2), 14440746271024573132U);
}

}  // namespace
}  // namespace inferd
