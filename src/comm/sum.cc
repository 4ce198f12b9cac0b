#include "comm/sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace inferd {
namespace {

// Elements summed at a time: they stay in the first-level cache, and `out` is written
// only after all inputs of the piece were read.
constexpr size_t kPiece = 512;

struct F32 {
  using Bits = float;
  static float Widen(float value) { return value; }
  static float Narrow(float value) { return value; }
};

// As BF16ToF32 and F32ToBF16, but inline and without branches: these loops are vectorised.
struct BF16 {
  using Bits = uint16_t;
  static float Widen(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
  static uint16_t Narrow(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet_nan = (bits >> 16) | 0x40;
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    return static_cast<uint16_t>(is_nan ? quiet_nan : rounded);
  }
};

template <typename T>
void Sum(std::span<const std::byte* const> inputs, size_t count, std::byte* out) {
  using Bits = typename T::Bits;
  alignas(64) std::array<float, kPiece> sum;
  alignas(64) std::array<Bits, kPiece> piece;
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    const size_t offset = first * sizeof(Bits);
    // Begins with rank 0's value, not with 0: -0 + -0 stays -0.
    std::memcpy(piece.data(), inputs[0] + offset, n * sizeof(Bits));
    for (size_t i = 0; i < n; ++i) sum[i] = T::Widen(piece[i]);
    for (const std::byte* input : inputs.subspan(1)) {
      std::memcpy(piece.data(), input + offset, n * sizeof(Bits));
      for (size_t i = 0; i < n; ++i) sum[i] += T::Widen(piece[i]);
    }
    for (size_t i = 0; i < n; ++i) piece[i] = T::Narrow(sum[i]);
    std::memcpy(out + offset, piece.data(), n * sizeof(Bits));
  }
}

}  // namespace

void SumInOrder(DType dtype, std::span<const std::byte* const> inputs, int64_t count,
                std::byte* out) {
  INFERD_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  INFERD_CHECK(!inputs.empty());
  if (dtype == DType::kF32) {
    Sum<F32>(inputs, static_cast<size_t>(count), out);
  } else {
    Sum<BF16>(inputs, static_cast<size_t>(count), out);
  }
}

}  // namespace inferd
