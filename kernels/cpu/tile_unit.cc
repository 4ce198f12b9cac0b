#include "cpu/tile_unit.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace inferd::kernels {
namespace {

// A fault of the processor.
void FaultUnless(bool condition) {
  if (!condition) __builtin_trap();
}

// Denormal operands and results are zero, whatever MXCSR says.
float Flush(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0F, value) : value;
}

// x w + sum of flushed operands, rounded once. As with MXCSR's flush-to-zero, a result is
// denormal by its 24 bits: what would round up to the least normal number only with the
// fewer bits of a denormal is zero.
float FlushedFma(float x, float w, float sum) {
  constexpr float kLeastNormal = 0x1p-126F;
  const float result = std::fma(x, w, sum);
  if (std::fabs(result) != kLeastNormal) return Flush(result);
  // Exact where it is near the bound: products have 16 bits, sums end at 2^-149.
  const double exact = double{x} * double{w} + double{sum};
  return std::fabs(exact) < 0x1p-126 - 0x1p-151 ? std::copysign(0.0F, result) : result;
}

int SignedByte(std::byte byte) { return (std::to_integer<int>(byte) ^ 0x80) - 0x80; }

float LoadBF16(const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return Flush(std::bit_cast<float>(uint32_t{bits} << 16));
}

}  // namespace

void EmulatedTiles::Configure(const TileConfig& config) {
  FaultUnless(config.palette <= 1 && config.start_row == 0);
  for (const uint8_t byte : config.reserved) FaultUnless(byte == 0);
  for (int t = 0; t < 16; ++t) {
    const int rows = config.rows[t];
    const int row_bytes = config.row_bytes[t];
    FaultUnless(rows <= 16 && row_bytes <= 64 && (rows == 0) == (row_bytes == 0));
    FaultUnless(t < 8 || rows == 0);
    if (t < 8) {
      tiles_[t] = Tile{};
      tiles_[t].rows = config.palette == 0 ? 0 : rows;
      tiles_[t].row_bytes = config.palette == 0 ? 0 : row_bytes;
    }
  }
}

EmulatedTiles::Tile& EmulatedTiles::Used(int tile) {
  FaultUnless(tiles_[tile].rows > 0);
  return tiles_[tile];
}

void EmulatedTiles::ZeroTile(Tile& tile) { std::memset(tile.data, 0, sizeof(tile.data)); }

// Rows and bytes past the configured ones become zero.
void EmulatedTiles::LoadTile(Tile& tile, const void* from, int64_t stride) {
  ZeroTile(tile);
  for (int m = 0; m < tile.rows; ++m) {
    std::memcpy(tile.data[m], static_cast<const std::byte*>(from) + m * stride,
                static_cast<size_t>(tile.row_bytes));
  }
}

void EmulatedTiles::StoreTile(const Tile& tile, void* to, int64_t stride) {
  for (int m = 0; m < tile.rows; ++m) {
    std::memcpy(static_cast<std::byte*>(to) + m * stride, tile.data[m],
                static_cast<size_t>(tile.row_bytes));
  }
}

void EmulatedTiles::DotTiles(Tile& c, const Tile& a, const Tile& b) {
  FaultUnless(&c != &a && &c != &b && &a != &b);
  FaultUnless(c.rows == a.rows && c.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows);
  const int columns = c.row_bytes / 4;
  for (int m = 0; m < c.rows; ++m) {
    // The even and the odd inputs have sums of their own.
    float sums[16][2] = {};
    for (int k = 0; k < b.rows; ++k) {
      for (int odd = 0; odd < 2; ++odd) {
        const float x = LoadBF16(&a.data[m][4 * k + 2 * odd]);
        for (int n = 0; n < columns; ++n) {
          const float w = LoadBF16(&b.data[k][4 * n + 2 * odd]);
          sums[n][odd] = FlushedFma(x, w, sums[n][odd]);
        }
      }
    }
    for (int n = 0; n < columns; ++n) {
      float sum = 0;
      std::memcpy(&sum, &c.data[m][4 * n], sizeof(sum));
      sum = Flush(Flush(sum) + Flush(sums[n][0] + sums[n][1]));
      std::memcpy(&c.data[m][4 * n], &sum, sizeof(sum));
    }
  }
}

void EmulatedTiles::DotBytes(Tile& c, const Tile& a, const Tile& b, bool b_is_signed) {
  FaultUnless(&c != &a && &c != &b && &a != &b);
  FaultUnless(c.rows == a.rows && c.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows);
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.row_bytes / 4; ++n) {
      uint32_t sum = 0;
      std::memcpy(&sum, &c.data[m][4 * n], sizeof(sum));
      for (int k = 0; k < b.rows; ++k) {
        for (int i = 0; i < 4; ++i) {
          const int x = SignedByte(a.data[m][4 * k + i]);
          const std::byte byte = b.data[k][4 * n + i];
          const int w = b_is_signed ? SignedByte(byte) : std::to_integer<int>(byte);
          sum += static_cast<uint32_t>(x * w);
        }
      }
      std::memcpy(&c.data[m][4 * n], &sum, sizeof(sum));
    }
  }
}

}  // namespace inferd::kernels
