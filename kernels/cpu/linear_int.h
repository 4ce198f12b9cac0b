// Matrix products with integer weights and rows of 8 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/quantize_rows.h"

namespace inferd::kernels {

// How four 8-bit products are added to an i32: by an instruction of its own (VNNI)
// or by way of 16 bits. The sums are exact, so both give the same bits.
enum class DotUnit : uint8_t { kWiden, kVnni };
// The best one of this processor and the chosen instruction set.
DotUnit BestDotUnit();
const char* DotUnitName(DotUnit unit);

inline constexpr int64_t kIntPanelWidth = 16;  // outputs
inline constexpr int32_t kInt8Zero = 128;

// Packed weights: unsigned values with a zero point, panel after panel of 16
// outputs (the last padded with zeros), the same on every instruction set.
//   8 bits: values [ceil(in / 4)][16][4], w + 128; then scales f32 [16]
//   4 bits: group after group: scales [16], f32 or f16; zeros u8 [16] unless they
//           are all the same; values [group_size / 8][16][4 bytes], inputs 0 to 3
//           of eight in the low halves of the bytes, 4 to 7 in the high ones
struct IntLayout {
  int32_t bits = 8;
  int64_t in_features = 0;
  int64_t group_size = 0;    // 8 bits: in_features
  bool half_scales = false;  // 4 bits: every scale is an f16
  int32_t zero = kInt8Zero;  // of all values, or kZeroPerGroup
};
inline constexpr int32_t kZeroPerGroup = -1;

int64_t IntPanelBytes(const IntLayout& layout);

// One output of the checkpoint's matrix. Unaligned.
struct IntRow {
  const void* values;  // i8 [in]; u8 [in / 2], the even input in the low half
  const void* scales;  // f32 [in / group_size]
  const uint8_t* zeros;
};
// Writes the panel of outputs rows[0 .. count), count <= 16.
void PackIntPanel(const IntLayout& layout, const IntRow* rows, int64_t count, std::byte* panel);
// Whether every one of n scales (f32, unaligned) is an f16 exactly.
bool ScalesFitF16(const void* scales, int64_t n);

// Most rows a tile of the product holds.
int64_t LinearIntMaxTileRows(DotUnit unit);

struct LinearIntParams {
  DotUnit unit;
  IntLayout layout;
  const std::byte* weights;
  int64_t out_features;
  const float* bias;  // [out] or null
  // See QuantizeRowsParams; corrections for layout.zero, or for 1 with zeros per
  // group.
  const int8_t* q;
  const RowScale* scales;
  int64_t rows;
  int64_t tile_rows;
  float* out;  // [rows, out_features]
};
// Panels [panel_begin, panel_end) of all rows' outputs.
void LinearInt(const LinearIntParams& p, int64_t panel_begin, int64_t panel_end);

// The same with AMX tiles (AmxInt8Runs), or their emulation, for 8-bit weights and for 4-bit
// ones: q and scales as QuantizeRows writes them with `wide`, p.tile_rows is kIntTileRows,
// p.unit is not used. The same bits as LinearInt.
inline constexpr int64_t kIntTileRows = 16;
void LinearIntTiles(const LinearIntParams& p, bool emulated, int64_t panel_begin,
                    int64_t panel_end);
void LinearInt4Tiles(const LinearIntParams& p, bool emulated, int64_t panel_begin,
                     int64_t panel_end);
// Whether there are such products of a layout: not where a group of 4 bits is longer.
inline constexpr int64_t kInt4TileMostGroup = 1984;
bool TilesTake(const IntLayout& layout);
// Whether AmxInt8Runs, and small products are those of the emulation bit for bit.
bool IntTilesAgree();

// Dot products on registers only; returns the multiplications and additions done.
// The ceiling of LinearInt.
double BurnDotProducts(DotUnit unit, int64_t iterations, int32_t* sink);

}  // namespace inferd::kernels
