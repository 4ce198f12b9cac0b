// What cuda/mma.h is made of in emulation. Include that.
#pragma once

#include <array>
#include <cstring>
#include <type_traits>

#include "cuda/emulator/emulator.h"

namespace inferd::cuda::emulator {

// `count` matrices of 8x8 16-bit numbers.
inline void LoadMatrices(uint32_t* out, int count, const void* row, bool transposed, Place place) {
  struct In {
    const void* row;
    int count;
    bool transposed;
  };
  const In in{row, count, transposed};
  WarpOperation operation{"LoadMatrices", 0xFFFFFFFFU, place};
  operation.compute = [](const WarpLanes& lanes) -> const char* {
    const In& first = *static_cast<const In*>(lanes.in[0]);
    for (int m = 0; m < first.count; ++m) {
      uint16_t matrix[8][8];
      for (int r = 0; r < 8; ++r) {
        const void* from = static_cast<const In*>(lanes.in[8 * m + r])->row;
        if (reinterpret_cast<uintptr_t>(from) % 16 != 0) return "a misaligned row";
        std::memcpy(matrix[r], from, 16);
      }
      for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4;
        const int t = lane % 4;
        const uint32_t low = first.transposed ? matrix[2 * t][g] : matrix[g][2 * t];
        const uint32_t high = first.transposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
        static_cast<uint32_t*>(lanes.out[lane])[m] = low | high << 16;
      }
    }
    return nullptr;
  };
  RunWarpOperation(operation, &in, out);
}

// D += A B on numbers stored as Bits, sums in Sum. `decode` has no captures.
template <class Bits, class Sum, class Decode>
void Mma(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Decode, Place place) {
  static_assert(std::is_empty_v<Decode>);
  struct In {
    uint32_t a[4];
    uint32_t b[2];
  };
  In in;
  std::memcpy(in.a, a, sizeof(a));
  std::memcpy(in.b, b, sizeof(b));
  WarpOperation operation{"Mma", 0xFFFFFFFFU, place};
  operation.compute = [](const WarpLanes& lanes) -> const char* {
    constexpr int kPerWord = 4 / sizeof(Bits);
    constexpr int kDepth = 8 * kPerWord;
    using Wide = std::conditional_t<std::is_same_v<Sum, float>, double, int64_t>;
    const Decode decode{};
    Wide left[16][kDepth];
    Wide right[kDepth][8];
    for (int lane = 0; lane < 32; ++lane) {
      const In& from = *static_cast<const In*>(lanes.in[lane]);
      const int g = lane / 4;
      const int t = lane % 4;
      for (int i = 0; i < kPerWord; ++i) {
        const auto pick = [&](uint32_t word) {
          return Wide{decode(static_cast<Bits>(word >> (8 * sizeof(Bits) * i)))};
        };
        const int k = kPerWord * t + i;
        left[g][k] = pick(from.a[0]);
        left[g + 8][k] = pick(from.a[1]);
        left[g][k + kDepth / 2] = pick(from.a[2]);
        left[g + 8][k + kDepth / 2] = pick(from.a[3]);
        right[k][g] = pick(from.b[0]);
        right[k + kDepth / 2][g] = pick(from.b[1]);
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      Sum* out = static_cast<Sum*>(lanes.out[lane]);
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + (i / 2) * 8;
        const int column = 2 * (lane % 4) + i % 2;
        Wide sum = out[i];
        for (int k = 0; k < kDepth; ++k) sum += left[row][k] * right[k][column];
        out[i] = static_cast<Sum>(sum);
      }
    }
    return nullptr;
  };
  RunWarpOperation(operation, &in, d);
}

}  // namespace inferd::cuda::emulator
