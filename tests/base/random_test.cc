#include "inferd/base/random.h"

#include <gtest/gtest.h>

namespace inferd {
namespace {

using Block = std::array<uint32_t, 4>;

// Known answers published with the Random123 library.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformIsInRangeAndSpread) {
  double sum = 0;
  for (uint64_t position = 0; position < 10000; ++position) {
    const float u = PhiloxUniform(/*seed=*/7, position, /*draw=*/0);
    ASSERT_GT(u, 0.0F);
    ASSERT_LT(u, 1.0F);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
  EXPECT_NE(PhiloxUniform(7, 1, 0), PhiloxUniform(7, 1, 1));
  EXPECT_NE(PhiloxUniform(7, 1, 0), PhiloxUniform(8, 1, 0));
}

TEST(Philox, UniformStaysInsideTheOpenInterval) {
  EXPECT_GT(UniformFromBits(0), 0.0F);
  EXPECT_LT(UniformFromBits(~0u), 1.0F);
}

}  // namespace
}  // namespace inferd
