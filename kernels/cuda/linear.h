// Matrix products out = x W^T + bias, x [rows, inputs] and W [outputs, inputs].
// Host functions that enqueue on `stream`; each returns 0 or a cudaError_t.
//
// An output's sum is taken in an order that only `inputs` decides: a row's result
// is the same, bit for bit, whatever other rows are there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/launch.h"

namespace inferd::cuda {

// ---- forms of x ----

// What a row of bf16 and of int8 is padded to with zeros, weights and x alike.
inline constexpr int64_t kRowAlignBytes = 64;
inline constexpr int64_t kInt4BlockInputs = 128;

inline constexpr int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
inline constexpr int64_t Bf16RowBytes(int64_t inputs) {
  return RoundUp(inputs * 2, kRowAlignBytes);
}
inline constexpr int64_t Int8RowBytes(int64_t inputs) { return RoundUp(inputs, kRowAlignBytes); }
// Of x for 4-bit weights, which is int8.
inline constexpr int64_t Int4RowBytes(int64_t inputs) { return RoundUp(inputs, kInt4BlockInputs); }

// x as a sum of `terms` bf16 numbers, 1 (rounded) or 3 (exact but for the last bits
// of subnormals). planes [terms][rows][Bf16RowBytes / 2].
struct SplitParams {
  const float* x = nullptr;  // [rows, inputs]
  uint16_t* planes = nullptr;
  int32_t rows = 0;
  int32_t inputs = 0;
  int32_t padded = 0;  // elements of a row of planes
  int32_t terms = 1;
};
int SplitToBf16(SplitParams params, Stream stream);

// x as a sum of `terms` f16 numbers times a power of two of each row's own, 1 (11 bits) or 3.
// That power puts the row's largest finite number below 2^15, so nothing overflows; three terms
// are exact down to 2^-40 of it. What is not finite stays so. planes [terms][rows][HalfRowBytes /
// 2].
inline constexpr int64_t HalfRowBytes(int64_t inputs) { return Bf16RowBytes(inputs); }
struct SplitHalfParams {
  const float* x = nullptr;  // [rows, inputs]
  uint16_t* planes = nullptr;
  float* scales = nullptr;  // [rows]
  int32_t rows = 0;
  int32_t inputs = 0;
  int32_t padded = 0;  // elements of a row of planes
  int32_t terms = 1;
};
int SplitToHalf(SplitHalfParams params, Stream stream);

// Of E4M3 weights, and elements of a row of x that meets them.
inline constexpr int64_t Fp8RowBytes(int64_t inputs) { return RoundUp(inputs, kRowAlignBytes); }

// x ~ q * scale over each group of a row, as inferd/ops/ops.h words it: a group
// that is not finite has a scale of NaN. q is padded with zeros.
struct QuantizeParams {
  const float* x = nullptr;  // [rows, inputs]
  int8_t* q = nullptr;       // [rows, padded]
  float* scales = nullptr;   // [rows, inputs / group]
  int32_t rows = 0;
  int32_t inputs = 0;
  int32_t padded = 0;
  int32_t group = 0;  // inputs a group; divides `inputs`
};
int QuantizeRows(QuantizeParams params, Stream stream);

// The same with E4M3 for q, as it is or, for LinearFp8, as bf16.
struct QuantizeFp8Params {
  const float* x = nullptr;  // [rows, inputs]
  void* q = nullptr;         // e4m3 or bf16 [rows, padded]
  float* scales = nullptr;   // [rows, inputs / group]
  int32_t rows = 0;
  int32_t inputs = 0;
  int32_t padded = 0;
  int32_t group = 0;  // inputs a group; divides `inputs`
  bool wide = true;   // bf16
};
int QuantizeRowsFp8(QuantizeFp8Params params, Stream stream);

// ---- products ----

struct LinearBf16Params {
  const void* x = nullptr;        // planes of SplitToBf16
  const void* weights = nullptr;  // bf16 [outputs, padded]
  const float* bias = nullptr;    // [outputs] or null
  float* out = nullptr;           // [rows, outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t row_bytes = 0;  // Bf16RowBytes
  int32_t terms = 1;
  int32_t max_shared_bytes = 0;  // of a block; decides how fast, never what
};
int LinearBf16(LinearBf16Params params, Stream stream);

// The same of one term for very few rows of f32, which the kernel itself rounds: nothing comes
// before it. The results are those of SplitToBf16 and LinearBf16.
struct LinearBf16RowsParams {
  const float* x = nullptr;       // [rows, inputs]
  const void* weights = nullptr;  // bf16 [outputs, inputs]
  const float* bias = nullptr;    // [outputs] or null
  float* out = nullptr;           // [rows, outputs]
  int32_t rows = 0;               // up to kMostFloatRows
  int32_t outputs = 0;
  int32_t inputs = 0;  // a multiple of 32
};
// With more rows their f32 numbers are a burden to the level-2 cache.
inline constexpr int32_t kMostFloatRows = 4;
inline constexpr bool TakesFloatRows(int64_t rows, int64_t inputs) {
  return rows <= kMostFloatRows && inputs > 0 && inputs * 2 % kRowAlignBytes == 0;
}
int LinearBf16Rows(LinearBf16RowsParams params, Stream stream);

struct LinearHalfParams {
  const void* x = nullptr;          // planes of SplitToHalf
  const float* x_scales = nullptr;  // [rows]
  const void* weights = nullptr;    // f16 [outputs, padded]
  const float* bias = nullptr;      // [outputs] or null
  float* out = nullptr;             // [rows, outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t row_bytes = 0;  // HalfRowBytes
  int32_t terms = 1;
  int32_t max_shared_bytes = 0;
};
int LinearHalf(LinearHalfParams params, Stream stream);

// The last step of a product whose sums are in `out` already: out = sum * x scale + bias, in
// place. x, weights unused.
int ScaleHalfSums(LinearHalfParams params, Stream stream);

struct LinearInt8Params {
  const void* x = nullptr;               // q of QuantizeRows, one group a row
  const float* x_scales = nullptr;       // [rows]
  const void* weights = nullptr;         // int8 [outputs, padded]
  const float* weight_scales = nullptr;  // [outputs]
  const float* bias = nullptr;           // [outputs] or null
  float* out = nullptr;                  // [rows, outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t row_bytes = 0;  // Int8RowBytes
  int32_t max_shared_bytes = 0;
};
int LinearInt8(LinearInt8Params params, Stream stream);

// The last step of a product whose sums of int8 products are in `out` already, as
// int32: out = sum * (x scale * weight scale) + bias, in place. x, weights unused.
int ScaleInt8Sums(LinearInt8Params params, Stream stream);

// out += bias in each row.
struct BiasParams {
  float* out = nullptr;         // [rows, outputs]
  const float* bias = nullptr;  // [outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
};
int AddBias(BiasParams params, Stream stream);

// 4-bit weights as PlaceInt4 lays them out.
struct LinearInt4Params {
  const void* x = nullptr;               // q of QuantizeRows
  const float* x_scales = nullptr;       // [rows, groups]
  const void* weights = nullptr;         // codes, see PlaceInt4
  const float* weight_scales = nullptr;  // [groups, padded outputs]
  const uint8_t* zeros = nullptr;        // [groups, padded outputs]
  const float* bias = nullptr;           // [outputs] or null
  float* out = nullptr;                  // [rows, outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t inputs = 0;
  int32_t group = 0;  // inputs a group: a multiple of 32
  int32_t max_shared_bytes = 0;
};
int LinearInt4(LinearInt4Params params, Stream stream);
// The same for many rows; groups are added in another order.
int LinearInt4Tiles(LinearInt4Params params, Stream stream);

// E4M3 weights. Padding of x and of weights is zero.
struct LinearFp8Params {
  const void* x = nullptr;               // bf16 [terms][rows, Fp8RowBytes(inputs)]
  const float* x_scales = nullptr;       // [rows, groups]; null: ones
  const void* weights = nullptr;         // [outputs, Fp8RowBytes(inputs)]
  const float* weight_scales = nullptr;  // [groups, outputs]
  const float* bias = nullptr;           // [outputs] or null
  float* out = nullptr;                  // [rows, outputs]
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t inputs = 0;
  int32_t group = 0;  // inputs a group: all, or a multiple of 32
  int32_t terms = 1;
  int32_t max_shared_bytes = 0;
};
int LinearFp8(LinearFp8Params params, Stream stream);

// The last step of a product of one group whose sums are in `out` already:
// out = sum * (x scale * weight scale) + bias, in place. x, weights unused.
int ScaleFp8Sums(LinearFp8Params params, Stream stream);

// f32 weights, [outputs, inputs] as they are, with f32 arithmetic.
struct LinearFloatParams {
  const float* x = nullptr;
  const float* weights = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  int32_t rows = 0;
  int32_t outputs = 0;
  int32_t inputs = 0;
};
int LinearFloat(LinearFloatParams params, Stream stream);

// ---- packing, on the host ----

inline constexpr int64_t kInt4TileOutputs = 16;
inline constexpr int64_t kInt4TileBytes = kInt4TileOutputs * kInt4BlockInputs / 2;

inline constexpr int64_t Int4CodeBytes(int64_t outputs, int64_t inputs) {
  return RoundUp(outputs, kInt4TileOutputs) / kInt4TileOutputs *
         (RoundUp(inputs, kInt4BlockInputs) / kInt4BlockInputs) * kInt4TileBytes;
}

// Where the value of (output, input) lies among the codes: a byte and which half of
// it. Tiles of 16 outputs and 128 inputs, by output tile then input block; in a tile
// 32 bytes a lane of a warp: 16 for output g and 16 for output g + 8, g = lane / 4.
// Of those 16 bytes four belong to each 32 inputs: inputs 8 t .. 8 t + 7 of them,
// t = lane % 4, the first four in the low halves and the others in the high ones.
struct Int4Place {
  int64_t byte;
  bool high;
};
inline constexpr Int4Place PlaceInt4(int64_t output, int64_t input, int64_t inputs) {
  const int64_t blocks = RoundUp(inputs, kInt4BlockInputs) / kInt4BlockInputs;
  const int64_t tile = output / kInt4TileOutputs * blocks + input / kInt4BlockInputs;
  const int64_t row = output % kInt4TileOutputs;
  const int64_t in_block = input % kInt4BlockInputs;
  const int64_t step = in_block / 32;
  const int64_t lane = row % 8 * 4 + in_block % 32 / 8;
  const int64_t in_word = in_block % 8;
  return {tile * kInt4TileBytes + lane * 32 + row / 8 * 16 + step * 4 + in_word % 4, in_word >= 4};
}

}  // namespace inferd::cuda
