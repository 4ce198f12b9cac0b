#include "model/quantization_decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace inferd::model {
namespace {

// Column of the k-th four bits of an AWQ word.
constexpr std::array<int, 8> kAwqColumn = {0, 2, 4, 6, 1, 3, 5, 7};

// Words a tile is wide and high: a cache line each way, so that neither the rows
// read nor the rows written are touched twice.
constexpr int64_t kTile = 16;

float LoadFloat(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DType::kF32:
      return view.As<const float>()[i];
    case DType::kF16:
      return F16ToF32(view.As<const uint16_t>()[i]);
    case DType::kBF16:
      return BF16ToF32(view.As<const uint16_t>()[i]);
    default:
      INFERD_CHECK(false);
  }
}

using NibbleTile = std::array<std::array<uint32_t, kTile>, 8>;

// Eight words of eight nibbles, transposed in place, kTile times side by side:
// nibble k of word j becomes nibble j of word k.
void TransposeNibbles(NibbleTile& w) {
  const auto exchange = [&w](size_t step, int shift, uint32_t mask) {
    for (size_t a = 0; a < 8; ++a) {
      if ((a & step) != 0) continue;
      for (size_t c = 0; c < kTile; ++c) {
        const uint32_t t = ((w[a][c] >> shift) ^ w[a + step][c]) & mask;
        w[a + step][c] ^= t;
        w[a][c] ^= t << shift;
      }
    }
  };
  exchange(4, 16, 0x0000ffffU);
  exchange(2, 8, 0x00ff00ffU);
  exchange(1, 4, 0x0f0f0f0fU);
}

}  // namespace

void UnpackAwqCodes(const TensorView& qweight, uint8_t* to, int64_t row_bytes) {
  const int64_t words = qweight.dim(0) / 8;  // of a row written
  const int64_t columns = qweight.dim(1);
  const auto* from = qweight.As<const uint32_t>();
  std::array<std::array<uint32_t, kTile>, 8 * kTile> tile{};
  for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
    const int64_t wide = std::min(kTile, columns - c0);
    for (int64_t r0 = 0; r0 < words; r0 += kTile) {
      const int64_t high = std::min(kTile, words - r0);
      for (int64_t r = 0; r < high; ++r) {
        NibbleTile w{};
        for (int64_t j = 0; j < 8; ++j) {
          std::memcpy(w[static_cast<size_t>(j)].data(), from + ((r0 + r) * 8 + j) * columns + c0,
                      static_cast<size_t>(wide) * 4);
        }
        TransposeNibbles(w);
        for (size_t k = 0; k < 8; ++k) {
          for (size_t c = 0; c < kTile; ++c) {
            tile[c * 8 + static_cast<size_t>(kAwqColumn[k])][static_cast<size_t>(r)] = w[k][c];
          }
        }
      }
      for (int64_t o = 0; o < wide * 8; ++o) {
        std::memcpy(to + (c0 * 8 + o) * row_bytes + r0 * 4, tile[static_cast<size_t>(o)].data(),
                    static_cast<size_t>(high) * 4);
      }
    }
  }
}

void UnpackGptqCodes(const TensorView& qweight, uint8_t* to, int64_t row_bytes) {
  const int64_t words = qweight.dim(0);
  const int64_t outputs = qweight.dim(1);
  const auto* from = qweight.As<const uint32_t>();
  std::array<std::array<uint32_t, kTile>, kTile> tile{};
  for (int64_t o0 = 0; o0 < outputs; o0 += kTile) {
    const int64_t wide = std::min(kTile, outputs - o0);
    for (int64_t r0 = 0; r0 < words; r0 += kTile) {
      const int64_t high = std::min(kTile, words - r0);
      for (int64_t r = 0; r < high; ++r) {
        for (int64_t o = 0; o < wide; ++o) {
          tile[static_cast<size_t>(o)][static_cast<size_t>(r)] = from[(r0 + r) * outputs + o0 + o];
        }
      }
      for (int64_t o = 0; o < wide; ++o) {
        std::memcpy(to + (o0 + o) * row_bytes + r0 * 4, tile[static_cast<size_t>(o)].data(),
                    static_cast<size_t>(high) * 4);
      }
    }
  }
}

void UnpackZeros(const TensorView& qzeros, NibbleOrder order, int64_t begin, int64_t end,
                 uint8_t* to) {
  const int64_t groups = qzeros.dim(0);
  const int64_t columns = qzeros.dim(1);
  const auto* from = qzeros.As<const uint32_t>();
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t g = 0; g < groups; ++g) {
      const uint32_t word = from[g * columns + c];
      for (int k = 0; k < 8; ++k) {
        const int column = order == NibbleOrder::kAwq ? kAwqColumn[static_cast<size_t>(k)] : k;
        to[(c * 8 + column) * groups + g] = static_cast<uint8_t>((word >> (4 * k)) & 15U);
      }
    }
  }
}

bool TransposeScales(const TensorView& scales, int64_t begin, int64_t end, float* to) {
  const int64_t groups = scales.dim(0);
  const int64_t outputs = scales.dim(1);
  bool finite = true;
  for (int64_t o0 = begin; o0 < end; o0 += kTile) {
    const int64_t next = std::min(o0 + kTile, end);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t o = o0; o < next; ++o) {
        const float scale = LoadFloat(scales, g * outputs + o);
        finite = finite && std::isfinite(scale);
        to[o * groups + g] = scale;
      }
    }
  }
  return finite;
}

bool SpreadScales(const TensorView& stored, const SharedScales& shared, const TensorView& to) {
  const int64_t groups = to.dim(1);
  auto* scales = to.As<float>();
  bool finite = true;
  for (int64_t o = 0; o < to.dim(0); ++o) {
    const int64_t row = (shared.output + o) / shared.outputs * shared.columns + shared.first_group;
    for (int64_t g = 0; g < groups; ++g) {
      const float scale = LoadFloat(stored, row + g);
      finite = finite && std::isfinite(scale);
      *scales++ = scale;
    }
  }
  return finite;
}

bool HoldsE4M3Nan(const TensorView& codes) {
  // Eight at a time: one added to seven bits that are all set reaches the eighth.
  constexpr uint64_t kOnes = 0x0101010101010101U;
  const auto* bytes = codes.As<const uint8_t>();
  const int64_t count = codes.NumElements();
  uint64_t seen = 0;
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i, static_cast<size_t>(std::min<int64_t>(8, count - i)));
    seen |= (word & (kOnes * 0x7f)) + kOnes;
  }
  return (seen & (kOnes * 0x80)) != 0;
}

}  // namespace inferd::model
