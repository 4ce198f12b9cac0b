#pragma once

#include <cstdint>

#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/load_threads.h"
#include "inferd/tensor/tensor.h"

namespace inferd::model {

// A part of a matrix, and the memory it was copied to unless it is whole rows.
struct TensorSlice {
  TensorView view;
  Buffer owned;
};

// All of a tensor, to be looked at: with `files` read into memory of its own, so that its
// mapping is not touched; else as it is. By `threads`.
StatusOr<TensorSlice> HoldTensor(const TensorView& tensor, Allocator& allocator,
                                 const FileBytes* files, LoadThreads& threads);

// Rows [row, row + rows) and columns [column, column + columns), read from the mapped
// file once and nothing beside them. With `files` they are read with that; whole rows too,
// if `held`, so that looking at them touches no mapping.
StatusOr<TensorSlice> SliceMatrix(const TensorView& matrix, int64_t row, int64_t rows,
                                  int64_t column, int64_t columns, Allocator& allocator,
                                  const FileBytes* files, bool held, LoadThreads& threads);

}  // namespace inferd::model
