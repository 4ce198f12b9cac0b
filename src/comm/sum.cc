#include "comm/sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "comm/vectorised.h"

namespace inferd {
namespace {

// Elements summed at a time; `out` is written only after all inputs of the piece were
// read.
constexpr size_t kPiece = 64;

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
struct SumLoop {
  using Bits = typename T::Bits;

  [[gnu::always_inline]] static inline void Run(std::span<const std::byte* const> inputs,
                                                size_t count, std::byte* out) {
    size_t first = 0;
    for (; first + kPiece <= count; first += kPiece) Piece(inputs, first, kPiece, out);
    if (first < count) Piece(inputs, first, count - first, out);
  }

 private:
  // With the constant kPiece for `n`, the sums stay in registers.
  [[gnu::always_inline]] static inline void Piece(std::span<const std::byte* const> inputs,
                                                  size_t first, size_t n, std::byte* out) {
    alignas(64) std::array<float, kPiece> sum;
    const size_t offset = first * sizeof(Bits);
    // Begins with rank 0's value, not with 0: -0 + -0 stays -0.
    for (size_t i = 0; i < n; ++i) sum[i] = T::Widen(Load(inputs[0] + offset, i));
    for (size_t r = 1; r < inputs.size(); ++r) {
      const std::byte* const input = inputs[r] + offset;
      for (size_t i = 0; i < n; ++i) sum[i] += T::Widen(Load(input, i));
    }
    for (size_t i = 0; i < n; ++i) {
      const Bits bits = T::Narrow(sum[i]);
      std::memcpy(out + offset + i * sizeof(Bits), &bits, sizeof(Bits));
    }
  }
  // Nothing promises that the bytes are aligned.
  [[gnu::always_inline]] static inline Bits Load(const std::byte* from, size_t i) {
    Bits bits;
    std::memcpy(&bits, from + i * sizeof(Bits), sizeof(Bits));
    return bits;
  }
};

}  // namespace

void SumInOrder(DType dtype, std::span<const std::byte* const> inputs, int64_t count,
                std::byte* out) {
  INFERD_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  INFERD_CHECK(!inputs.empty());
  if (dtype == DType::kF32) {
    RunVectorised<SumLoop<F32>>(inputs, static_cast<size_t>(count), out);
  } else {
    RunVectorised<SumLoop<BF16>>(inputs, static_cast<size_t>(count), out);
  }
}

}  // namespace inferd
