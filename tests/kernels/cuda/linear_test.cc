// Products of few rows: the ways to the same bits.
#include "cuda/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

std::vector<uint16_t> Bf16s(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(FromFloat<Bf16>(v).bits);
  return bits;
}

// Rounding in the kernel is rounding before it, for numbers that are not finite as well, and
// however many rows there are.
TEST(LinearBf16, RowsOfFloatsAreRoundedAsOneTermIs) {
  struct Shape {
    int32_t rows;
    int32_t inputs;
    int32_t outputs;
  };
  for (const Shape& s : {Shape{1, 32, 16}, Shape{1, 4096, 40}, Shape{2, 1056, 17}, Shape{3, 96, 33},
                         Shape{4, 352, 100}}) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      emulator::SetSeed(seed);
      std::vector<float> numbers = Normals(1, static_cast<size_t>(s.rows * s.inputs));
      if (s.rows > 2) {
        numbers[5] = INFINITY;
        numbers[static_cast<size_t>(s.inputs) + 9] = NAN;
        numbers[static_cast<size_t>(2 * s.inputs)] = 1e-40F;
      }
      DeviceArray<float> x(numbers);
      DeviceArray<uint16_t> weights(
          Bf16s(Normals(2, static_cast<size_t>(s.outputs * s.inputs), 0.1F)));
      DeviceArray<float> bias(Normals(3, static_cast<size_t>(s.outputs)));
      DeviceArray<uint16_t> planes(static_cast<size_t>(s.rows * s.inputs));
      DeviceArray<float> split(static_cast<size_t>(s.rows * s.outputs));
      DeviceArray<float> direct(static_cast<size_t>(s.rows * s.outputs));
      const auto row_bytes = static_cast<int32_t>(Bf16RowBytes(s.inputs));
      ASSERT_EQ(SplitToBf16({x.data(), planes.data(), s.rows, s.inputs, row_bytes / 2, 1}, nullptr),
                0)
          << emulator::LastError();
      ASSERT_EQ(LinearBf16({planes.data(), weights.data(), bias.data(), split.data(), s.rows,
                            s.outputs, row_bytes, 1},
                           nullptr),
                0)
          << emulator::LastError();
      ASSERT_EQ(LinearBf16Rows({x.data(), weights.data(), bias.data(), direct.data(), s.rows,
                                s.outputs, s.inputs},
                               nullptr),
                0)
          << emulator::LastError();
      EXPECT_EQ(std::memcmp(split.data(), direct.data(), split.size() * sizeof(float)), 0)
          << s.rows << " " << s.inputs << " " << s.outputs;
      EXPECT_TRUE(s.rows > 2 || std::isfinite(direct[0]));
    }
  }
}

TEST(LinearBf16, RowsThatAreNotWholeBlocksAreNotTaken) {
  EXPECT_TRUE(TakesFloatRows(4, 64));
  EXPECT_FALSE(TakesFloatRows(5, 64));
  EXPECT_FALSE(TakesFloatRows(1, 48));
  EXPECT_FALSE(TakesFloatRows(1, 0));
  EXPECT_EQ(LinearBf16Rows({nullptr, nullptr, nullptr, nullptr, 1, 16, 48}, nullptr),
            kBadArguments);
}

}  // namespace
}  // namespace inferd::cuda::testing
