// Matrix products with FP8 weights (E4M3): every value is a bf16 as well, so blocks of
// weights are widened to bf16 in cache and multiplied as those of cpu/linear_bf16.h are.
#pragma once

#include "cpu/linear_bf16.h"

namespace inferd::kernels {

// Outputs of a column group: what a task takes at a time.
inline constexpr int64_t kFp8Columns = 128;
inline constexpr int64_t kMaxFp8BlockInputs = 128;

// A matrix [out, in] with a scale per output and `group_size` inputs; group_size is
// in_features or a multiple of 32 that divides it.
//
// Packed, codes: column groups of 128 outputs (the last as many panels as it needs), in
// each blocks of up to 128 inputs, in each panels [ceil(inputs / 2)][P][2] as of bf16.
// What is past the outputs and inputs is zero. Behind them, aligned to 64 bytes, scales
// f32 [groups][outputs padded to panels].
struct Fp8Layout {
  int64_t out_features = 0;
  int64_t in_features = 0;
  int64_t group_size = 0;

  int64_t groups() const { return in_features / group_size; }
  int64_t block_inputs() const;  // of all blocks but a row's last
  int64_t padded_outputs() const { return RoundUp(out_features, LinearPanelWidth()); }
  int64_t code_bytes() const { return RoundUp(padded_outputs() * RoundUp(in_features, 2), 64); }
  int64_t packed_bytes() const { return code_bytes() + groups() * padded_outputs() * 4; }
  int64_t column_groups() const { return (out_features + kFp8Columns - 1) / kFp8Columns; }
};

// A row of the matrix as it came.
struct Fp8Row {
  const void* codes;   // [in]
  const void* scales;  // f32 [groups], unaligned
};
// Writes column group `group` of the packed matrix, and its scales; `rows` are its rows.
void PackFp8Columns(const Fp8Layout& layout, const Fp8Row* rows, int64_t group, void* packed);

// Rows of x, in tiles of `tile_rows` (kTiles: 16) as of cpu/linear_bf16.h, but one block
// of inputs after another, as if each were a matrix of its own. With `round` the values
// are E4M3 and `scales` [rows][groups] says what they stand for (Ops::Linear); else they
// are bf16 or, with `floats` (kWiden only), f32, and scales are not used.
struct PackFp8RowsParams {
  Fp8Layout layout;
  Bf16Unit unit;
  bool round;
  bool floats;
  const float* x;  // [rows, in]
  int64_t rows;
  int64_t tile_rows;
  void* packed;  // aligned to 64
  float* scales;
};
// Bytes of one row's values in `packed`.
int64_t PackedFp8RowBytes(const Fp8Layout& layout, Bf16Unit unit);
void PackFp8Rows(const PackFp8RowsParams& p, int64_t tile_begin, int64_t tile_end);

struct LinearFp8Params {
  Fp8Layout layout;
  Bf16Unit unit;
  const void* weights;  // packed
  const float* bias;    // [out] or null
  const void* x;        // PackFp8RowsParams::packed
  const float* scales;  // the same; null: ones
  int64_t rows;
  int64_t tile_rows;
  float* out;  // [rows, out]
};
// Column groups [begin, end) of all rows' outputs.
void LinearFp8(const LinearFp8Params& p, int64_t begin, int64_t end);

}  // namespace inferd::kernels
