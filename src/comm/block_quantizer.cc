#include "comm/block_quantizer.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "comm/vectorised.h"

namespace inferd {
namespace {

// Everything here is without branches and library calls, so that it becomes vectors.
#define INFERD_COMM_INLINE [[gnu::always_inline]] static inline

struct Int8 {
  static constexpr float kLargest = 127.0F;

  // To nearest even, by adding what leaves no room for fractions. |value| <= 128.
  INFERD_COMM_INLINE uint8_t Encode(float value) {
    constexpr float kRound = 0x1.8p23F;
    return static_cast<uint8_t>(std::bit_cast<uint32_t>(value + kRound));
  }
  INFERD_COMM_INLINE float Decode(uint8_t code) {
    return static_cast<float>(static_cast<int8_t>(code));
  }
};

// E4M3 of the Open Compute Project: bias 7, codes 0x7f and 0xff are NaN.
struct Fp8 {
  static constexpr float kLargest = 448.0F;

  // To nearest even. |value| <= 448 and a few units in the last place.
  INFERD_COMM_INLINE uint8_t Encode(float value) {
    constexpr uint32_t kExponentShift = (127 - 7) << 3;
    constexpr float kRound = 0x1p14F;  // its last place is worth 2^-9, the smallest step
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t rounded = magnitude + 0x7ffff + ((magnitude >> 20) & 1);
    const uint32_t normal = (rounded >> 20) - kExponentShift;
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + kRound) -
                               std::bit_cast<uint32_t>(kRound);
    // A mask, as a choice would become a branch around the addition above.
    const uint32_t is_small = -static_cast<uint32_t>(magnitude < std::bit_cast<uint32_t>(0x1p-6F));
    const uint32_t code = (subnormal & is_small) | (normal & ~is_small);
    return static_cast<uint8_t>(code | (bits >> 31) << 7);
  }
  INFERD_COMM_INLINE float Decode(uint8_t code) {
    const uint32_t magnitude = code & 0x7f;
    const float normal = std::bit_cast<float>((magnitude << 20) + ((127U - 7U) << 23));
    const float subnormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-9F;
    const auto bits = std::bit_cast<uint32_t>(magnitude < 8 ? subnormal : normal);
    return std::bit_cast<float>(bits | static_cast<uint32_t>(code & 0x80) << 24);
  }
};

template <typename Format>
struct QuantizeLoop {
  INFERD_COMM_INLINE void Run(const float* in, size_t num_blocks, std::byte* out) {
    for (size_t b = 0; b < num_blocks; ++b) {
      Block(in + b * kBlockElements, out + b * kBlockBytes);
    }
  }
  INFERD_COMM_INLINE void Block(const float* in, std::byte* out) {
    // The largest magnitude as bits: a NaN or an infinity is larger than any number.
    uint32_t largest_bits = 0;
    for (size_t i = 0; i < kBlockElements; ++i) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(in[i]) & 0x7fffffff;
      largest_bits = magnitude > largest_bits ? magnitude : largest_bits;
    }
    const bool finite = largest_bits < 0x7f800000;
    const float largest = std::bit_cast<float>(largest_bits);
    float scale = finite ? largest / Format::kLargest : std::numeric_limits<float>::quiet_NaN();
    // Below this the division could overflow; such a block is all zeros.
    if (scale < std::numeric_limits<float>::min()) scale = 0;
    std::memcpy(out, &scale, sizeof(scale));
    std::array<uint8_t, kBlockElements> codes{};
    if (scale > 0) {
      for (size_t i = 0; i < kBlockElements; ++i) codes[i] = Format::Encode(in[i] / scale);
    }
    std::memcpy(out + sizeof(scale), codes.data(), codes.size());
  }
};

template <typename Format, bool kAdd>
struct DequantizeLoop {
  INFERD_COMM_INLINE void Run(const std::byte* blocks, size_t num_blocks, float* out) {
    for (size_t b = 0; b < num_blocks; ++b) {
      Block(blocks + b * kBlockBytes, out + b * kBlockElements);
    }
  }
  INFERD_COMM_INLINE void Block(const std::byte* block, float* out) {
    float scale;
    std::memcpy(&scale, block, sizeof(scale));
    std::array<uint8_t, kBlockElements> codes;
    std::memcpy(codes.data(), block + sizeof(scale), codes.size());
    for (size_t i = 0; i < kBlockElements; ++i) {
      const float value = scale * Format::Decode(codes[i]);
      out[i] = kAdd ? out[i] + value : value;
    }
  }
};

#undef INFERD_COMM_INLINE

}  // namespace

void QuantizeBlocks(QuantizedFormat format, std::span<const float> in, std::byte* blocks) {
  const size_t n = in.size() / kBlockElements;
  if (format == QuantizedFormat::kInt8) {
    RunVectorised<QuantizeLoop<Int8>>(in.data(), n, blocks);
  } else {
    RunVectorised<QuantizeLoop<Fp8>>(in.data(), n, blocks);
  }
}

void AddBlocks(QuantizedFormat format, const std::byte* blocks, std::span<float> out) {
  const size_t n = out.size() / kBlockElements;
  if (format == QuantizedFormat::kInt8) {
    RunVectorised<DequantizeLoop<Int8, true>>(blocks, n, out.data());
  } else {
    RunVectorised<DequantizeLoop<Fp8, true>>(blocks, n, out.data());
  }
}

void DequantizeBlocks(QuantizedFormat format, const std::byte* blocks, std::span<float> out) {
  const size_t n = out.size() / kBlockElements;
  if (format == QuantizedFormat::kInt8) {
    RunVectorised<DequantizeLoop<Int8, false>>(blocks, n, out.data());
  } else {
    RunVectorised<DequantizeLoop<Fp8, false>>(blocks, n, out.data());
  }
}

}  // namespace inferd
