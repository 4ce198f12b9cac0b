#include "quantize/awq_pack.h"

#include <algorithm>
#include <array>

namespace inferd::quantize {
namespace {

constexpr int64_t kPerWord = 8;
// The column in the k-th four bits of a word.
constexpr std::array<int64_t, kPerWord> kColumn = {0, 2, 4, 6, 1, 3, 5, 7};

// [out, rows] of four-bit values to words [rows, out / 8].
std::vector<uint32_t> PackTransposed(const std::vector<uint8_t>& values, int64_t out,
                                     int64_t rows) {
  const int64_t words = out / kPerWord;
  std::vector<uint32_t> packed(static_cast<size_t>(rows * words));
  constexpr int64_t kTile = 64;  // rows read together, so that no cache line is read twice
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t end = std::min(rows, r0 + kTile);
    for (int64_t w = 0; w < words; ++w) {
      for (int64_t r = r0; r < end; ++r) {
        uint32_t word = 0;
        for (int64_t k = 0; k < kPerWord; ++k) {
          const int64_t o = w * kPerWord + kColumn[static_cast<size_t>(k)];
          word |= uint32_t{values[static_cast<size_t>(o * rows + r)]} << (4 * k);
        }
        packed[static_cast<size_t>(r * words + w)] = word;
      }
    }
  }
  return packed;
}

}  // namespace

AwqTensors PackAwq(const Int4Matrix& matrix) {
  const int64_t groups = matrix.in / matrix.group;
  AwqTensors packed;
  packed.qweight = PackTransposed(matrix.codes, matrix.out, matrix.in);
  packed.qzeros = PackTransposed(matrix.zeros, matrix.out, groups);
  packed.scales.resize(matrix.scales.size());
  for (int64_t o = 0; o < matrix.out; ++o) {
    for (int64_t g = 0; g < groups; ++g) {
      packed.scales[static_cast<size_t>(g * matrix.out + o)] =
          matrix.scales[static_cast<size_t>(o * groups + g)];
    }
  }
  return packed;
}

}  // namespace inferd::quantize
