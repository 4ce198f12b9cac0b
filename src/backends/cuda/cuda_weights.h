// Matrices in the forms that kernels/cuda/linear.h multiplies: how large they are
// and what they hold. Host code; it knows no device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/weights.h"

namespace inferd {

// Where the parts of LinearWeight::packed lie, in bytes. The kernels' names of the
// forms: f32 as it is; bf16, f16, int8 and FP8 rows padded with zeros; int4 in tiles.
struct PackedForm {
  int64_t row_bytes = 0;  // of the values; int4: of a tile of 16 outputs
  int64_t num_rows = 0;   // outputs, or tiles
  int64_t scales_at =
      0;  // f32: int8 [outputs], int4 [groups, padded outputs], FP8 [groups, outputs]
  int64_t zeros_at = 0;  // int4: u8 [groups, padded outputs]
  int64_t bytes = 0;     // of all

  int64_t value_bytes() const { return row_bytes * num_rows; }
};

// From one row of a matrix of f32, f16 or bf16 to the next, in bytes.
int64_t FloatRowBytes(DType dtype, int64_t in_features);

// Of a weight with format, sizes and group size set.
PackedForm FormOf(const LinearWeight& weight);

// Writes `count` rows of the values from `first_row` on, as FormOf counts them. What is as
// the checkpoint has it is read with `files`, unless that is null.
Status WritePackedRows(std::span<const RawLinear> parts, const LinearWeight& weight,
                       int64_t first_row, int64_t count, const FileBytes* files, std::byte* to);
// What is behind the values: a row per group of inputs, one of all inputs in int8; float
// formats have none. Both write groups [first, first + count).
struct GroupRows {
  int64_t groups = 0;
  int64_t outputs = 0;  // in a row, with padding
};
GroupRows GroupRowsOf(const LinearWeight& weight);
void WritePackedScales(std::span<const RawLinear> parts, const LinearWeight& weight, int64_t first,
                       int64_t count, std::byte* to);
// Of int4 only.
void WritePackedZeros(std::span<const RawLinear> parts, const LinearWeight& weight, int64_t first,
                      int64_t count, std::byte* to);

}  // namespace inferd
