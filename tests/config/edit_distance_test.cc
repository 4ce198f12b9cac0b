#include "config/edit_distance.h"

#include <string>

#include "gtest/gtest.h"

namespace inferd::config {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0U);
  EXPECT_EQ(EditDistance("abc", "abc"), 0U);
  EXPECT_EQ(EditDistance("abc", ""), 3U);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3U);
  EXPECT_EQ(EditDistance("form", "from"), 1U);  // neighbours swapped
  EXPECT_EQ(EditDistance("model.path", "model.paht"), 1U);
}

TEST(EditDistance, LongTextsAreCut) {
  EXPECT_EQ(EditDistance(std::string(100'000, 'a'), std::string(70, 'a')), 0U);
}

}  // namespace
}  // namespace inferd::config
