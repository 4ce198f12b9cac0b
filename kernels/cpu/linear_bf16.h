// Matrix products of rows rounded to bf16 with bf16 weights, whose panels are those
// of cpu/linear.h.
#pragma once

#include "cpu/linear.h"

namespace inferd::kernels {

// How bf16 meets bf16. Each unit has one order of sums, the same for any number of
// rows; their bits differ from each other's.
enum class Bf16Unit : uint8_t {
  kWiden,          // f32 multiply-adds of widened values, on every instruction set
  kPairs,          // VDPBF16PS of AVX512_BF16: two products to a lane
  kTiles,          // TDPBF16PS of AMX: tiles of 16 rows, 32 inputs, 16 outputs
  kEmulatedTiles,  // kTiles step by step in scalar code, everywhere and slowly
};
const char* Bf16UnitName(Bf16Unit unit);
// Whether the unit can be used here. For kTiles it asks the operating system for the
// tile registers, on behalf of the whole process, and compares a small product with
// kEmulatedTiles, bit for bit.
bool Bf16UnitRuns(Bf16Unit unit);
// The unit with the highest rate; kTiles only with `tiles`. On processors that run
// VDPBF16PS at less than twice the rate of f32 multiply-adds that is kWiden.
Bf16Unit BestBf16Unit(bool tiles);

// Rows of x, rounded to nearest even, in tiles of `tile_rows` (kTiles: 16):
//   kWiden  f32 [ceil(rows / tile_rows)][in][rows of tile], for LinearParams
//   kPairs  bf16 [...][ceil(in / 2)][rows of tile][2], for LinearParams::pairs
//   kTiles  bf16 [...][ceil(in / 32)][rows of tile][32], for LinearTiles
// What is past the inputs is zero.
struct PackBf16RowsParams {
  Bf16Unit unit;
  const float* x;  // [rows, in]
  int64_t rows;
  int64_t in_features;
  int64_t tile_rows;
  void* packed;  // aligned to 64
};
int64_t PackedBf16RowBytes(Bf16Unit unit, int64_t in_features);
void PackBf16Rows(const PackBf16RowsParams& p, int64_t tile_begin, int64_t tile_end);

inline constexpr int64_t kAmxTileRows = 16;

// As Linear, with kTiles or kEmulatedTiles; p.element is kBF16 and p.tile_rows 16.
void LinearTiles(const LinearParams& p, bool emulated, int64_t panel_begin, int64_t panel_end);
// Tile products on registers only, where they run: their ceiling.
double BurnTileProducts(int64_t iterations, float* sink);

}  // namespace inferd::kernels
