#pragma once

#include <cstdint>
#include <vector>

#include "inferd/ops/file_bytes.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// kInt8: one scale per output row. kInt4: one scale and zero point per row and
// group of consecutive inputs. kFp8, kFp8Weights: E4M3 with one scale per row and group;
// they differ in what Ops::Linear does with its inputs, which kFp8 rounds to E4M3 too.
enum class WeightFormat : uint8_t { kF32, kF16, kBF16, kInt8, kInt4, kFp8, kFp8Weights };
inline constexpr int kNumWeightFormats = 7;
constexpr bool IsFp8(WeightFormat format) {
  return format == WeightFormat::kFp8 || format == WeightFormat::kFp8Weights;
}

// The element type of RawLinear::data; of kInt4, of two values.
DType FormatDType(WeightFormat format);

// A matrix as the checkpoint has it: row-major [out_features, in_features]. The
// memory stays the caller's.
//   kInt8: w[o][i] = data[o][i] * scales[o]
//   kInt4: w[o][i] = (data[o][i] - zeros[o][g]) * scales[o][g], g = i / group_size,
//          data two values a byte, the even input in the low half
//   FP8:   w[o][i] = data[o][i] * scales[o][g], g = i / group_size; no data is NaN
// With integer weights there are at most 131072 inputs: sums of products fit 32 bits.
struct RawLinear {
  WeightFormat format = WeightFormat::kF32;
  TensorView data = {};    // [out, in] of FormatDType; kInt4: u8 [out, in / 2]
  TensorView scales = {};  // f32: kInt8 [out]; else [out, in / group_size]
  TensorView zeros = {};   // kInt4: u8 [out, in / group_size], each 0 to 15
  // kInt4, FP8: a multiple of 32 that divides in; FP8 also in itself, whatever it is.
  int32_t group_size = 0;
};

// A linear layer in the backend's own form. The model never looks inside.
struct LinearWeight {
  WeightFormat format = WeightFormat::kF32;
  int64_t out_features = 0;
  int64_t in_features = 0;
  int32_t group_size = 0;  // kInt4, FP8
  Buffer packed;           // layout is the backend's, scales included
  Buffer bias;             // [out] f32 on the device, or empty
};

// A small vector on the device (norm weights).
struct VectorWeight {
  int64_t size = 0;
  Buffer data;  // [size] f32
};

// An embedding table, or the rows of one from first_row on. The view may point into a
// mapped checkpoint, which must then outlive it. With `files` rows are read with that, where
// the ops can, so that no page of the mapping is touched.
struct EmbeddingTable {
  TensorView view;  // [rows, hidden]
  Buffer owned;     // empty when the view is borrowed
  // The view's memory is that of a packed matrix (Ops::TableOf), not row after row.
  bool packed = false;
  const FileBytes* files = nullptr;
  int64_t first_row = 0;
  int64_t vocab_size = 0;  // rows of the whole table; 0: those of the view

  bool is_part() const { return vocab_size > view.dim(0); }
};

// cos and sin of every position and rotary pair, scaling included; computed once
// by the model in double precision.
struct RopeTable {
  int64_t max_positions = 0;
  int64_t rotary_dim = 0;  // even; pairs (i, i + rotary_dim / 2), as Hugging Face lays them out
  Buffer cos;              // [max_positions, rotary_dim / 2] f32
  Buffer sin;
};

}  // namespace inferd
