#include "inferd/tensor/tensor.h"

#include <algorithm>
#include <string>

namespace inferd {

int64_t DTypeSize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kF8E4M3:
      return 1;
    case DType::kI64:
      return 8;
  }
  INFERD_CHECK(false);
}

std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kI8:
      return "i8";
    case DType::kU8:
      return "u8";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
    case DType::kF8E4M3:
      return "f8_e4m3";
  }
  INFERD_CHECK(false);
}

TensorView::TensorView(void* data_in, DType dtype_in, std::initializer_list<int64_t> dims)
    : data(data_in), dtype(dtype_in), rank(static_cast<int>(dims.size())) {
  INFERD_CHECK(dims.size() <= kMaxRank);
  std::copy(dims.begin(), dims.end(), shape.begin());
}

int64_t TensorView::NumElements() const {
  int64_t n = rank == 0 ? 0 : 1;
  for (int i = 0; i < rank; ++i) n *= dim(i);
  return n;
}

TensorView TensorView::Rows(int64_t first, int64_t count) const {
  INFERD_CHECK(rank >= 1 && first >= 0 && count >= 0 && first + count <= dim(0));
  TensorView rows = *this;
  rows.shape[0] = count;
  const int64_t row_bytes = dim(0) == 0 ? 0 : NumBytes() / dim(0);
  rows.data = static_cast<std::byte*>(data) + first * row_bytes;
  return rows;
}

StatusOr<Buffer> Buffer::Create(Allocator& allocator, size_t bytes, size_t alignment) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  void* data = allocator.Allocate(bytes, alignment);
  if (data == nullptr) {
    return ResourceExhaustedError("cannot allocate " + std::to_string(bytes) + " bytes");
  }
  buffer.allocator_ = &allocator;
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  return buffer;
}

Buffer Buffer::Borrow(std::byte* data, size_t bytes) {
  Buffer buffer;
  buffer.data_ = data;
  buffer.size_ = bytes;
  return buffer;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(allocator_, other.allocator_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (allocator_ != nullptr) allocator_->Free(data_, size_);
}

}  // namespace inferd
