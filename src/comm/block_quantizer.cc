#include "comm/block_quantizer.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace inferd {
namespace {

struct Block {
  float scale;
  std::array<int8_t, kBlockElements> values;
};
static_assert(sizeof(Block) == kBlockBytes);

Block Load(const std::byte* bytes) {
  Block block;
  std::memcpy(&block, bytes, sizeof(block));
  return block;
}

}  // namespace

void QuantizeBlock(std::span<const float> in, std::byte* out) {
  Block block{};
  float largest = 0;
  bool finite = true;
  for (const float value : in) {
    finite = finite && std::isfinite(value);
    largest = std::fmax(largest, std::fabs(value));
  }
  block.scale = finite ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
  // Below this the division could overflow; such a block is all zeros.
  if (block.scale < std::numeric_limits<float>::min()) block.scale = 0;
  if (block.scale > 0) {
    for (size_t i = 0; i < in.size(); ++i) {
      block.values[i] = static_cast<int8_t>(std::nearbyint(in[i] / block.scale));
    }
  }
  std::memcpy(out, &block, sizeof(block));
}

void AddBlock(const std::byte* bytes, std::span<float> out) {
  const Block block = Load(bytes);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] += block.scale * static_cast<float>(block.values[i]);
  }
}

void DequantizeBlock(const std::byte* bytes, std::span<float> out) {
  const Block block = Load(bytes);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = block.scale * static_cast<float>(block.values[i]);
  }
}

}  // namespace inferd
