#include "model/tensor_slice.h"

namespace inferd::model {

StatusOr<TensorSlice> HoldTensor(const TensorView& tensor, Allocator& allocator,
                                 const FileBytes* files) {
  TensorSlice held;
  held.view = tensor;
  if (files == nullptr) return held;
  INFERD_ASSIGN_OR_RETURN(held.owned,
                          Buffer::Create(allocator, static_cast<size_t>(tensor.NumBytes())));
  INFERD_RETURN_IF_ERROR(files->Read(held.owned.data(), tensor.data, held.owned.size()));
  held.view.data = held.owned.data();
  return held;
}

StatusOr<TensorSlice> SliceMatrix(const TensorView& matrix, int64_t row, int64_t rows,
                                  int64_t column, int64_t columns, Allocator& allocator,
                                  const FileBytes* files, bool held) {
  INFERD_CHECK(matrix.rank == 2 && row >= 0 && column >= 0 && rows > 0 && columns > 0);
  INFERD_CHECK(row + rows <= matrix.dim(0) && column + columns <= matrix.dim(1));
  const TensorView whole = matrix.Rows(row, rows);
  if (columns == matrix.dim(1)) return HoldTensor(whole, allocator, held ? files : nullptr);
  TensorSlice slice;
  const auto element = static_cast<size_t>(DTypeSize(matrix.dtype));
  const size_t from_bytes = static_cast<size_t>(matrix.dim(1)) * element;
  const size_t to_bytes = static_cast<size_t>(columns) * element;
  INFERD_ASSIGN_OR_RETURN(slice.owned,
                          Buffer::Create(allocator, static_cast<size_t>(rows) * to_bytes));
  const auto* from = whole.As<const std::byte>() + static_cast<size_t>(column) * element;
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    INFERD_RETURN_IF_ERROR(
        ReadBytes(files, slice.owned.data() + r * to_bytes, from + r * from_bytes, to_bytes));
  }
  slice.view = TensorView(slice.owned.data(), matrix.dtype, {rows, columns});
  return slice;
}

}  // namespace inferd::model
