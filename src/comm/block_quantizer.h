// Blocks of 8-bit integers with a scale, as they travel: a float, then kQuantizedBlock
// bytes.
#pragma once

#include <cstddef>
#include <span>

#include "inferd/comm/quantized_all_reduce.h"

namespace inferd {

inline constexpr size_t kBlockElements = kQuantizedBlock;
inline constexpr size_t kBlockBytes = sizeof(float) + kBlockElements;

// `in` has kBlockElements, `out` kBlockBytes.
void QuantizeBlock(std::span<const float> in, std::byte* out);
// out[i] += or := the block's values.
void AddBlock(const std::byte* block, std::span<float> out);
void DequantizeBlock(const std::byte* block, std::span<float> out);

}  // namespace inferd
