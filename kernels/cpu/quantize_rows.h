// Rows of f32 rounded to 8 bits, for products with integer weights.
#pragma once

#include <cstdint>

namespace inferd::kernels {

// Of one row, or of one row's group of inputs.
struct RowScale {
  float scale;         // x ~ q * scale; NaN when an input was not finite
  int32_t correction;  // -zero * sum of q
};

// m = max|x|, q = nearest-even(x * (127 / m)), scale = m / 127. All zero where
// m = 0, or so small (below 4e-37) that 127 / m overflows.
struct QuantizeRowsParams {
  const float* x;  // [rows, in]
  int64_t rows;
  int64_t in_features;
  int64_t group_size;  // divides in; in itself for one scale per row
  int32_t zero;        // the weights' zero point
  int64_t tile_rows;
  // Tile after tile of up to tile_rows rows: q [ceil(in / 4)][rows of tile][4],
  // scales [groups][rows of tile]. Padding is zero.
  int8_t* q;
  RowScale* scales;
  // For LinearIntTiles and LinearInt4Tiles: q [ceil(in / 64)][rows of tile][64].
  bool wide = false;
};
int64_t QuantizedRowBytes(int64_t in_features, bool wide);
void QuantizeRows(const QuantizeRowsParams& p, int64_t row_begin, int64_t row_end);

}  // namespace inferd::kernels
