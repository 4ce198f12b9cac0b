#include "inferd/base/histogram.h"

#include <gtest/gtest.h>

#include <array>

namespace inferd {
namespace {

TEST(Histogram, BoundsAreInclusiveAbove) {
  constexpr std::array<double, 2> kBounds{1.0, 2.0};
  Histogram h(kBounds);
  h.Observe(1.0);
  h.ObserveMany(1.5, 3);
  h.Observe(9.0);
  ASSERT_EQ(h.counts().size(), 3u);
  EXPECT_EQ(h.counts()[0], 1u);
  EXPECT_EQ(h.counts()[1], 3u);
  EXPECT_EQ(h.counts()[2], 1u);
  EXPECT_EQ(h.count(), 5u);
  EXPECT_DOUBLE_EQ(h.sum(), 1.0 + 4.5 + 9.0);
}

}  // namespace
}  // namespace inferd
