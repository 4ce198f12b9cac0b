#include "model/tensor_slice.h"

#include <algorithm>

namespace inferd::model {
namespace {

// What a thread reads at a time.
constexpr size_t kPieceBytes = size_t{512} << 10;

}  // namespace

StatusOr<TensorSlice> HoldTensor(const TensorView& tensor, Allocator& allocator,
                                 const FileBytes* files, LoadThreads& threads) {
  TensorSlice held;
  held.view = tensor;
  if (files == nullptr) return held;
  INFERD_ASSIGN_OR_RETURN(held.owned,
                          Buffer::Create(allocator, static_cast<size_t>(tensor.NumBytes())));
  const size_t bytes = held.owned.size();
  const auto* from = tensor.As<const std::byte>();
  const auto read = [&](int64_t piece) {
    const size_t begin = static_cast<size_t>(piece) * kPieceBytes;
    return files->Read(held.owned.data() + begin, from + begin,
                       std::min(kPieceBytes, bytes - begin));
  };
  const size_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes;
  INFERD_RETURN_IF_ERROR(threads.Run(static_cast<int64_t>(pieces), read));
  held.view.data = held.owned.data();
  return held;
}

StatusOr<TensorSlice> SliceMatrix(const TensorView& matrix, int64_t row, int64_t rows,
                                  int64_t column, int64_t columns, Allocator& allocator,
                                  const FileBytes* files, bool held, LoadThreads& threads) {
  INFERD_CHECK(matrix.rank == 2 && row >= 0 && column >= 0 && rows > 0 && columns > 0);
  INFERD_CHECK(row + rows <= matrix.dim(0) && column + columns <= matrix.dim(1));
  const TensorView whole = matrix.Rows(row, rows);
  if (columns == matrix.dim(1))
    return HoldTensor(whole, allocator, held ? files : nullptr, threads);
  TensorSlice slice;
  const auto element = static_cast<size_t>(DTypeSize(matrix.dtype));
  const size_t from_bytes = static_cast<size_t>(matrix.dim(1)) * element;
  const size_t to_bytes = static_cast<size_t>(columns) * element;
  INFERD_ASSIGN_OR_RETURN(slice.owned,
                          Buffer::Create(allocator, static_cast<size_t>(rows) * to_bytes));
  const auto* from = whole.As<const std::byte>() + static_cast<size_t>(column) * element;
  const int64_t at_once = std::max<int64_t>(1, static_cast<int64_t>(kPieceBytes / to_bytes));
  const auto read = [&](int64_t piece) {
    const auto begin = static_cast<size_t>(piece * at_once);
    const auto end = static_cast<size_t>(std::min(rows, (piece + 1) * at_once));
    for (size_t r = begin; r < end; ++r) {
      INFERD_RETURN_IF_ERROR(
          ReadBytes(files, slice.owned.data() + r * to_bytes, from + r * from_bytes, to_bytes));
    }
    return OkStatus();
  };
  INFERD_RETURN_IF_ERROR(threads.Run((rows + at_once - 1) / at_once, read));
  slice.view = TensorView(slice.owned.data(), matrix.dtype, {rows, columns});
  return slice;
}

}  // namespace inferd::model
