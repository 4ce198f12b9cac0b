// The emulated tensor core instructions against plain products, through the
// fragment layouts as cuda/mma.h words them.
#include "cuda/mma.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "cuda/vec.h"

namespace inferd::cuda {
namespace {

struct Params {
  const void* a;  // [16, k]
  const void* b;  // [8, k]: B transposed
  void* d;        // [16, 8]
};

// The loads a kernel would use: A and B by ldmatrix without transposing.
template <class T>
SIMT_KERNEL(32)
Product16(Params p) {
  SIMT_SHARED(a, Array<Vec<uint16_t, 8>, 32>);
  SIMT_SHARED(b, Array<Vec<uint16_t, 8>, 16>);
  const auto lane = static_cast<int>(Lane());
  std::memcpy(&a[lane], static_cast<const uint16_t*>(p.a) + 8 * lane, 16);
  if (lane < 16) std::memcpy(&b[lane], static_cast<const uint16_t*>(p.b) + 8 * lane, 16);
  SyncWarp();
  uint32_t fragment_a[4];
  uint32_t fragment_b[2];
  // Matrices: rows 0-7 and 8-15 of the low half of k, then of the high half.
  LoadMatrices4(fragment_a, &a[lane % 16 * 2 + lane / 16]);
  LoadMatrices2(fragment_b, &b[lane % 8 * 2 + lane / 8 % 2]);
  float d[4] = {1, 1, 1, 1};
  Mma16<T>(d, fragment_a, fragment_b);
  auto* out = static_cast<float*>(p.d);
  for (int i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

template <class T>
void CheckProduct16() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  alignas(16) uint16_t a[16 * 16];
  alignas(16) uint16_t b[8 * 16];
  for (auto& x : a) x = FromFloat<T>(normal(random)).bits;
  for (auto& x : b) x = FromFloat<T>(normal(random)).bits;
  float d[128];
  ASSERT_EQ(Launch(Product16<T>, {.grid = {1}, .block = {32}}, nullptr, {a, b, d}), 0)
      << emulator::LastError();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 1;
      for (int k = 0; k < 16; ++k) {
        sum += double{ToFloat(T{a[16 * i + k]})} * ToFloat(T{b[16 * j + k]});
      }
      EXPECT_FLOAT_EQ(d[8 * i + j], static_cast<float>(sum));
    }
  }
}

TEST(Mma, Bf16) { CheckProduct16<Bf16>(); }
TEST(Mma, Half) { CheckProduct16<Half>(); }

template <bool kInt>
SIMT_KERNEL(32)
Product8(Params p) {
  const auto lane = static_cast<int>(Lane());
  const auto* a = static_cast<const uint8_t*>(p.a);
  const auto* b = static_cast<const uint8_t*>(p.b);
  const int g = lane / 4;
  const int t = lane % 4;
  uint32_t fragment_a[4];
  uint32_t fragment_b[2];
  for (int i = 0; i < 4; ++i) {
    std::memcpy(&fragment_a[i], a + (g + i % 2 * 8) * 32 + 4 * t + i / 2 * 16, 4);
  }
  for (int i = 0; i < 2; ++i) std::memcpy(&fragment_b[i], b + g * 32 + 4 * t + i * 16, 4);
  std::conditional_t<kInt, int32_t, float> d[4] = {2, 2, 2, 2};
  if constexpr (kInt) {
    MmaInt8(d, fragment_a, fragment_b);
  } else {
    MmaE4m3(d, fragment_a, fragment_b);
  }
  auto* out = static_cast<float*>(p.d);
  for (int i = 0; i < 4; ++i) {
    out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = static_cast<float>(d[i]);
  }
}

TEST(Mma, EightBits) {
  std::mt19937 random(6);
  uint8_t a[16 * 32];
  uint8_t b[8 * 32];
  for (const bool integers : {true, false}) {
    const auto draw = [&] {
      return integers ? static_cast<uint8_t>(random())
                      : FromFloat<E4m3>(static_cast<float>(random() % 1000) / 500.0F - 1.0F).bits;
    };
    const auto value = [&](uint8_t bits) {
      return integers ? double{static_cast<float>(static_cast<int8_t>(bits))} : ToFloat(E4m3{bits});
    };
    for (auto& x : a) x = draw();
    for (auto& x : b) x = draw();
    float d[128];
    const LaunchShape shape{.grid = {1}, .block = {32}};
    ASSERT_EQ(integers ? Launch(Product8<true>, shape, nullptr, {a, b, d})
                       : Launch(Product8<false>, shape, nullptr, {a, b, d}),
              0);
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        double sum = 2;
        for (int k = 0; k < 32; ++k) sum += value(a[32 * i + k]) * value(b[32 * j + k]);
        EXPECT_FLOAT_EQ(d[8 * i + j], static_cast<float>(sum));
      }
    }
  }
}

SIMT_KERNEL(32) Transpose(Params p) {
  SIMT_SHARED(a, Array<Vec<uint16_t, 8>, 32>);
  const auto lane = static_cast<int>(Lane());
  std::memcpy(&a[lane], static_cast<const uint16_t*>(p.a) + 8 * lane, 16);
  SyncWarp();
  uint32_t out[4];
  LoadMatrices4Transposed(out, &a[lane]);
  for (int i = 0; i < 4; ++i) static_cast<uint32_t*>(p.d)[4 * lane + i] = out[i];
}

TEST(Mma, LoadMatricesTransposed) {
  alignas(16) uint16_t a[4][8][8];
  for (int i = 0; i < 256; ++i) a[i / 64][i / 8 % 8][i % 8] = static_cast<uint16_t>(i);
  uint32_t d[32][4];
  ASSERT_EQ(Launch(Transpose, {.grid = {1}, .block = {32}}, nullptr, {a, nullptr, d}), 0);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      EXPECT_EQ(d[lane][m] & 0xFFFF, a[m][lane % 4 * 2][lane / 4]);
      EXPECT_EQ(d[lane][m] >> 16, a[m][lane % 4 * 2 + 1][lane / 4]);
    }
  }
}

}  // namespace
}  // namespace inferd::cuda
