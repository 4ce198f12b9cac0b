// Blocks of 8-bit numbers with a scale, as they travel: a float, then kQuantizedBlock
// bytes.
#pragma once

#include <cstddef>
#include <span>

#include "inferd/comm/quantized_all_reduce.h"

namespace inferd {

inline constexpr size_t kBlockElements = kQuantizedBlock;
inline constexpr size_t kBlockBytes = sizeof(float) + kBlockElements;

// The floats are whole blocks; `blocks` has kBlockBytes for each of them.
void QuantizeBlocks(QuantizedFormat format, std::span<const float> in, std::byte* blocks);
// out[i] += or := the blocks' values.
void AddBlocks(QuantizedFormat format, const std::byte* blocks, std::span<float> out);
void DequantizeBlocks(QuantizedFormat format, const std::byte* blocks, std::span<float> out);

}  // namespace inferd
