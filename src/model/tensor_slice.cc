#include "model/tensor_slice.h"

#include <cstring>

namespace inferd::model {

StatusOr<TensorSlice> SliceMatrix(const TensorView& matrix, int64_t row, int64_t rows,
                                  int64_t column, int64_t columns, Allocator& allocator,
                                  const FileBytes* files, bool held) {
  INFERD_CHECK(matrix.rank == 2 && row >= 0 && column >= 0 && rows > 0 && columns > 0);
  INFERD_CHECK(row + rows <= matrix.dim(0) && column + columns <= matrix.dim(1));
  TensorSlice slice;
  slice.view = matrix.Rows(row, rows);
  const bool whole_rows = columns == matrix.dim(1);
  if (whole_rows && (files == nullptr || !held)) return slice;
  const auto element = static_cast<size_t>(DTypeSize(matrix.dtype));
  const size_t from_bytes = static_cast<size_t>(matrix.dim(1)) * element;
  const size_t to_bytes = static_cast<size_t>(columns) * element;
  INFERD_ASSIGN_OR_RETURN(slice.owned,
                          Buffer::Create(allocator, static_cast<size_t>(rows) * to_bytes));
  const auto* from = slice.view.As<const std::byte>() + static_cast<size_t>(column) * element;
  if (whole_rows) {
    INFERD_RETURN_IF_ERROR(files->Read(slice.owned.data(), from, slice.owned.size()));
  } else {
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      std::byte* to = slice.owned.data() + r * to_bytes;
      if (files != nullptr) {
        INFERD_RETURN_IF_ERROR(files->Read(to, from + r * from_bytes, to_bytes));
      } else {
        std::memcpy(to, from + r * from_bytes, to_bytes);
      }
    }
  }
  slice.view = TensorView(slice.owned.data(), matrix.dtype, {rows, columns});
  return slice;
}

}  // namespace inferd::model
