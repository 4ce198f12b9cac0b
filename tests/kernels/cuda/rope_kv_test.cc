// Rotary embedding and cache writes in emulation against the formulas in double.
#include "cuda/rope_kv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

struct Shape {
  int32_t q_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t rotary_dim;
  int32_t block_size;
  KvType type;
  bool norm;
  Element element = Element::kF32;
};

// Rows at these positions of two sequences; the third is padding.
const std::vector<int32_t> kPositions = {17, 18, -1, 0, 5};
const std::vector<int32_t> kSequences = {1, 1, 0, 0, 0};

class RopeKvTest : public ::testing::TestWithParam<Shape> {};

TEST_P(RopeKvTest, RotatesAndStores) {
  const Shape s = GetParam();
  const int32_t heads = s.q_heads + 2 * s.kv_heads;
  const int32_t rows = 5;
  const int32_t stride = 20 / s.block_size + 1;
  const std::vector<float> values =
      DeviceRows(s.element, rows, int64_t{heads} * s.head_dim,
                 Normals(1, static_cast<size_t>(rows * heads * s.head_dim)))
          .Get();
  DeviceArray<int32_t> positions(kPositions);
  DeviceArray<int32_t> sequences(kSequences);
  std::vector<int32_t> table(static_cast<size_t>(2 * stride));
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(table.size() - i);
  DeviceArray<int32_t> tables(table);
  const int32_t half = s.rotary_dim / 2;
  std::vector<float> cos_values(static_cast<size_t>(20 * half));
  std::vector<float> sin_values(cos_values.size());
  for (size_t i = 0; i < cos_values.size(); ++i) {
    cos_values[i] = static_cast<float>(std::cos(0.3 * static_cast<double>(i)));
    sin_values[i] = static_cast<float>(std::sin(0.3 * static_cast<double>(i)));
  }
  DeviceArray<float> cos(cos_values);
  DeviceArray<float> sin(sin_values);
  DeviceArray<float> q_norm(Normals(2, static_cast<size_t>(s.head_dim)));
  DeviceArray<float> k_norm(Normals(3, static_cast<size_t>(s.head_dim)));

  KvCache kv{nullptr, 0, s.kv_heads, s.head_dim, s.block_size, s.type, 0.25F, 0.5F};
  kv.block_bytes = KvBlockBytes(kv);
  DeviceArray<unsigned char> cache((table.size() + 1) * static_cast<size_t>(kv.block_bytes));
  kv.data = cache.data();
  std::vector<float> rotated;
  RunUnderSeeds(
      3,
      [&] {
        DeviceRows qkv(s.element, rows, int64_t{heads} * s.head_dim, values);
        RopeKvParams p;
        p.qkv = qkv.view();
        p.positions = positions.data();
        p.row_sequence = sequences.data();
        p.block_tables = tables.data();
        p.table_stride = stride;
        p.cos = cos.data();
        p.sin = sin.data();
        if (s.norm) {
          p.q_norm = q_norm.data();
          p.k_norm = k_norm.data();
        }
        p.eps = 1e-6F;
        p.rotary_dim = s.rotary_dim;
        p.num_rotated = s.q_heads + s.kv_heads;
        p.num_q_heads = s.q_heads;
        p.kv = kv;
        p.num_rows = rows;
        const int code = RopeKv(p, nullptr);
        rotated = qkv.Get();
        return code;
      },
      [&] { return cache.Get(); });

  std::vector<double> expected(values.begin(), values.end());
  const auto d = static_cast<size_t>(s.head_dim);
  for (size_t r = 0; r < 5; ++r) {
    for (size_t h = 0; h < static_cast<size_t>(heads); ++h) {
      double* x = expected.data() + (r * static_cast<size_t>(heads) + h) * d;
      const bool is_key = h >= static_cast<size_t>(s.q_heads);
      const bool is_value = h >= static_cast<size_t>(s.q_heads + s.kv_heads);
      if (kPositions[r] < 0 || is_value) continue;
      if (s.norm) {
        double squares = 0;
        for (size_t i = 0; i < d; ++i) squares += x[i] * x[i];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(d) + 1e-6F);
        for (size_t i = 0; i < d; ++i) x[i] *= scale * (is_key ? k_norm : q_norm)[i];
      }
      for (int32_t i = 0; i < half; ++i) {
        const auto entry = static_cast<size_t>(kPositions[r] * half + i);
        const double a = x[i];
        const double b = x[i + half];
        x[i] = a * cos[entry] - b * sin[entry];
        x[i + half] = b * cos[entry] + a * sin[entry];
      }
    }
  }
  ExpectNear(rotated, expected, s.element == Element::kF32 ? 2e-6 : 4e-3);

  // The cache holds what the formats make of it, and nothing else was written.
  std::vector<bool> written((table.size() + 1) * 2 *
                            static_cast<size_t>(s.kv_heads * s.block_size));
  for (size_t r = 0; r < 5; ++r) {
    if (kPositions[r] < 0) continue;
    const int32_t block =
        table[static_cast<size_t>(kSequences[r] * stride + kPositions[r] / s.block_size)];
    for (int32_t h = 0; h < 2 * s.kv_heads; ++h) {
      const bool is_value = h >= s.kv_heads;
      const int64_t index =
          KvIndex(kv, is_value, is_value ? h - s.kv_heads : h, kPositions[r] % s.block_size);
      written[static_cast<size_t>(block * 2 * s.kv_heads * s.block_size + index)] = true;
      const double* x = expected.data() +
                        (r * static_cast<size_t>(heads) + static_cast<size_t>(s.q_heads + h)) * d;
      double largest = 0;
      for (size_t i = 0; i < d; ++i) largest = std::max(largest, std::fabs(x[i]));
      const unsigned char* numbers = KvNumbers(kv, block, index);
      for (size_t i = 0; i < d; ++i) {
        switch (s.type) {
          case KvType::kF32:
            EXPECT_NEAR(reinterpret_cast<const float*>(numbers)[i], x[i], 1e-5);
            break;
          case KvType::kBf16:
            EXPECT_NEAR(ToFloat(reinterpret_cast<const Bf16*>(numbers)[i]), x[i],
                        0.0041 * std::fabs(x[i]) + 1e-5);
            break;
          case KvType::kInt8:
            EXPECT_NEAR(reinterpret_cast<const int8_t*>(numbers)[i] * *KvScale(kv, block, index),
                        x[i], 0.51 / 127 * largest);
            break;
          case KvType::kE4m3: {
            const float scale = is_value ? kv.value_scale : kv.key_scale;
            EXPECT_NEAR(ToFloat(reinterpret_cast<const E4m3*>(numbers)[i]) * scale, x[i],
                        0.0626 * std::fabs(x[i]) + 1e-3);
            break;
          }
        }
      }
    }
  }
  const auto row_bytes = static_cast<size_t>(s.head_dim * KvSize(s.type));
  for (size_t i = 0; i < written.size(); ++i) {
    if (written[i]) continue;
    const auto per_block = static_cast<size_t>(2 * s.kv_heads * s.block_size);
    const unsigned char* numbers =
        KvNumbers(kv, static_cast<int64_t>(i / per_block), static_cast<int64_t>(i % per_block));
    for (size_t b = 0; b < row_bytes; ++b) ASSERT_EQ(numbers[b], 0xFF);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, RopeKvTest,
    ::testing::Values(Shape{3, 1, 8, 8, 4, KvType::kBf16, false},
                      Shape{6, 2, 80, 80, 16, KvType::kF32, false},
                      Shape{5, 5, 128, 128, 16, KvType::kInt8, true},
                      Shape{4, 2, 96, 32, 1, KvType::kE4m3, false},
                      Shape{9, 3, 36, 24, 8, KvType::kBf16, true},
                      Shape{2, 1, 256, 64, 16, KvType::kInt8, false, Element::kBf16},
                      Shape{2, 1, 64, 64, 16, KvType::kBf16, true, Element::kBf16}));

TEST(RopeKv, WithoutACacheOnlyRotates) {
  DeviceRows x(Element::kF32, 1, 13, std::vector<float>(13, 1.0F));
  DeviceArray<int32_t> positions(std::vector<int32_t>{1});
  DeviceArray<float> cos(std::vector<float>{9, 9, 0.5F, 0.25F});
  DeviceArray<float> sin(std::vector<float>{9, 9, 2.0F, 3.0F});
  RopeKvParams p;
  p.qkv = x.view();
  p.positions = positions.data();
  p.cos = cos.data();
  p.sin = sin.data();
  p.rotary_dim = 4;
  p.num_rotated = 2;
  p.num_q_heads = 2;
  p.kv.head_dim = 6;
  p.num_rows = 1;
  ASSERT_EQ(RopeKv(p, nullptr), 0);
  const std::vector<float> head = {-1.5F, -2.75F, 2.5F, 3.25F, 1, 1};
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(x.At(0, i), head[static_cast<size_t>(i % 6)]);
  EXPECT_EQ(x.At(0, 12), 1.0F);
}

}  // namespace
}  // namespace inferd::cuda::testing
