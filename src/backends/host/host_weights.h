// Reading weights as checkpoints have them. Any thread.
#pragma once

#include <span>

#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

constexpr bool IsInteger(WeightFormat format) {
  return format == WeightFormat::kInt8 || format == WeightFormat::kInt4;
}
constexpr bool IsFloat(WeightFormat format) { return !IsInteger(format) && !IsFp8(format); }

// Element i of f32, f16, bf16 or E4M3 values.
float LoadFloat(const void* data, DType dtype, int64_t i);

// Checks the parts of one joined matrix, each by itself and against the others;
// returns the matrix with its sizes set and nothing packed yet.
StatusOr<LinearWeight> DescribeLinear(std::span<const RawLinear> parts,
                                      std::span<const TensorView> bias);

// Row `row` of a matrix joined of `parts`, one part's rows below another's.
struct PlacedRow {
  const RawLinear& part;
  int64_t row;  // within the part
};
inline PlacedRow FindRow(std::span<const RawLinear> parts, int64_t row) {
  size_t part = 0;
  while (row >= parts[part].data.dim(0)) row -= parts[part++].data.dim(0);
  return {parts[part], row};
}

// The parts' bias vectors one after another as f32; empty when `bias` is. Read with `files`,
// unless that is null.
StatusOr<Buffer> JoinBias(std::span<const TensorView> bias, const FileBytes* files,
                          Allocator& allocator);

// A vector of f32, f16 or bf16 as f32, read likewise.
StatusOr<VectorWeight> VectorToF32(const TensorView& host, const FileBytes* files,
                                   Allocator& allocator);

StatusOr<EmbeddingTable> BorrowEmbedding(const TensorView& host);
// For Ops::TableOf: a packed matrix of floats as the table it was made from, in the memory of
// `head`. UNIMPLEMENTED for other formats.
StatusOr<EmbeddingTable> PackedTable(const LinearWeight& head);
StatusOr<Buffer> CopyFloats(std::span<const float> host, Allocator& allocator);

}  // namespace inferd
