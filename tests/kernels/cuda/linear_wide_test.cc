// Products of more than 32 rows: the bits of fewer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>
#include <vector>

#include "cuda/linear_skinny.h"
#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

constexpr int32_t kTwoStages = 8 * 2 * 2 * 64 * 64;
constexpr int32_t kThreeStages = kTwoStages / 2 * 3;

enum class Format : uint8_t { kBf16, kF16, kInt8 };

struct Case {
  int32_t rows;
  int32_t row_bytes;  // of x and of weights
  int32_t outputs;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << " rows of " << c.row_bytes << " bytes, " << c.outputs << " outputs";
}

// Two finite numbers, or four, in each word.
std::vector<uint32_t> Words(Format format, uint32_t seed, size_t count) {
  const std::vector<float> normals = Normals(seed, 4 * count);
  std::vector<uint32_t> words(count);
  for (size_t i = 0; i < count; ++i) {
    const float* const v = &normals[4 * i];
    switch (format) {
      case Format::kBf16:
        words[i] = Pack2<Bf16>(v[0], v[1]);
        break;
      case Format::kF16:
        words[i] = Pack2<Half>(v[0], v[1]);
        break;
      case Format::kInt8:
        for (int b = 0; b < 4; ++b) {
          words[i] |= uint32_t{static_cast<uint8_t>(static_cast<int8_t>(v[b] * 30))} << 8 * b;
        }
        break;
    }
  }
  return words;
}

class WideTest : public ::testing::TestWithParam<Format> {
 protected:
  // The product of rows [first, first + rows) of c.rows.
  std::vector<float> Product(const Case& c, int32_t first, int32_t rows, int32_t shared_bytes) {
    const auto row_words = static_cast<size_t>(c.row_bytes / 4);
    const auto outputs = static_cast<size_t>(c.outputs);
    const auto some = static_cast<size_t>(rows);
    const auto skipped = static_cast<size_t>(first);
    const std::vector<uint32_t> all = Words(GetParam(), 1, static_cast<size_t>(c.rows) * row_words);
    const std::vector<float> scales = Normals(4, static_cast<size_t>(c.rows));
    DeviceArray<uint32_t> x(
        std::vector<uint32_t>(all.begin() + static_cast<ptrdiff_t>(skipped * row_words),
                              all.begin() + static_cast<ptrdiff_t>((skipped + some) * row_words)));
    DeviceArray<float> x_scales(
        std::vector<float>(scales.begin() + first, scales.begin() + first + rows));
    DeviceArray<uint32_t> weights(Words(GetParam(), 2, outputs * row_words));
    DeviceArray<float> weight_scales(Normals(5, outputs));
    DeviceArray<float> bias(Normals(3, outputs));
    DeviceArray<float> out(some * outputs);
    int error = 0;
    switch (GetParam()) {
      case Format::kBf16:
        error = LinearBf16({x.data(), weights.data(), bias.data(), out.data(), rows, c.outputs,
                            c.row_bytes, 1, shared_bytes},
                           nullptr);
        break;
      case Format::kF16:
        error = LinearHalf({x.data(), x_scales.data(), weights.data(), bias.data(), out.data(),
                            rows, c.outputs, c.row_bytes, 1, shared_bytes},
                           nullptr);
        break;
      case Format::kInt8:
        error = LinearInt8({x.data(), x_scales.data(), weights.data(), weight_scales.data(),
                            bias.data(), out.data(), rows, c.outputs, c.row_bytes, shared_bytes},
                           nullptr);
        break;
    }
    EXPECT_EQ(error, 0) << emulator::LastError();
    return out.Get();
  }
};

// One block of inputs, fewer than warps, not a multiple of their number, more than both rings hold;
// outputs and rows that end within tiles, and a second tile of rows.
TEST_P(WideTest, ARowIsTheSameBitsHoweverManyThereAre) {
  uint64_t seed = 0;
  for (const Case& c : {Case{33, 64, 40}, Case{64, 320, 64}, Case{50, 64 * 11, 130},
                        Case{64, 64 * 16, 1}, Case{36, 64 * 35, 65}, Case{70, 64 * 25, 64}}) {
    std::vector<float> few;
    for (int32_t first = 0; first < c.rows; first += 8) {
      const std::vector<float> rows =
          Product(c, first, std::min(8, c.rows - first), /*shared_bytes=*/0);
      few.insert(few.end(), rows.begin(), rows.end());
    }
    for (const int32_t shared_bytes : {0, kTwoStages, kThreeStages}) {
      emulator::SetSeed(++seed);
      const std::vector<float> many = Product(c, 0, c.rows, shared_bytes);
      ASSERT_EQ(many.size(), few.size());
      EXPECT_EQ(std::memcmp(many.data(), few.data(), few.size() * sizeof(float)), 0)
          << c << ", " << shared_bytes << " bytes of shared memory";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, WideTest,
                         ::testing::Values(Format::kBf16, Format::kF16, Format::kInt8));

TEST(TakesWide, WithMoreThan32RowsOfOneTermAndTheMemoryOfTwoStages) {
  SkinnyParams p = {};
  p.rows = 33;
  p.terms = 1;
  EXPECT_TRUE(TakesWide(p, kTwoStages));
  EXPECT_FALSE(TakesWide(p, kTwoStages - 1));
  p.terms = 3;
  EXPECT_FALSE(TakesWide(p, kThreeStages));
  p.terms = 1;
  p.rows = 32;
  EXPECT_FALSE(TakesWide(p, kThreeStages));
}

}  // namespace
}  // namespace inferd::cuda::testing
