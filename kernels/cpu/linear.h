// Matrix products with packed weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// Outputs per panel; depends on the instruction set.
int64_t LinearPanelWidth();
// Most rows of x a tile of the product holds.
int64_t LinearMaxTileRows();

// Packed weights, panel after panel of width P outputs (the last padded with
// zeros): f32 and f16 [in][P]; bf16 [ceil(in / 2)][P][2], two inputs side by side.
int64_t LinearPackedBytes(Element element, int64_t out_features, int64_t in_features);
// Writes the panel of outputs [first, first + count), count <= P, from their
// rows of `in_features` values.
void PackLinearPanel(Element element, const void* const* rows, int64_t count, int64_t in_features,
                     void* panel);
// Reads inputs [first, first + count) of output `column` of a panel again, as the values
// PackLinearPanel was given, bit for bit; `first` is even.
void UnpackLinearRow(Element element, const void* panel, int64_t column, int64_t first,
                     int64_t count, void* row);

// Rows of x in tiles of `tile_rows`: [ceil(rows / tile_rows)][in][rows of tile].
struct PackRowsParams {
  const float* x;  // [rows, in]
  int64_t rows;
  int64_t in_features;
  int64_t tile_rows;
  float* packed;
};
void PackRows(const PackRowsParams& p, int64_t tile_begin, int64_t tile_end);

struct LinearParams {
  Element element;
  const void* weights;
  int64_t out_features;
  int64_t in_features;
  const float* bias;   // [out] or null
  const void* packed;  // x, see PackRowsParams; with `pairs`, PackBf16RowsParams
  int64_t rows;
  int64_t tile_rows;
  float* out;               // [rows, out_features]
  bool pairs = false;       // bf16 by bf16, Bf16Unit::kPairs
  bool accumulate = false;  // start from out, else from 0
};
// Panels [panel_begin, panel_end) of all rows' outputs.
void Linear(const LinearParams& p, int64_t panel_begin, int64_t panel_end);

// Whether LinearParams::pairs may be set on this processor and instruction set.
bool PairProductsRun();
// Pair products on registers only, where they run: their ceiling. Returns the
// multiplications and additions done.
double BurnPairProducts(int64_t iterations, float* sink);

}  // namespace inferd::kernels
