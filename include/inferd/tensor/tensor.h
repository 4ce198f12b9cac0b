// Views of memory with a type and a shape, and the owners of such memory. Views
// are plain data; nothing here knows what kind of device the memory is on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>

#include "inferd/base/check.h"
#include "inferd/base/status.h"

namespace inferd {

enum class DType : uint8_t { kF32, kF16, kBF16, kI8, kU8, kI32, kI64, kF8E4M3 };

int64_t DTypeSize(DType dtype);           // bytes
std::string_view DTypeName(DType dtype);  // "f32", "bf16", …

// A dense row-major view; it owns nothing. At most four dimensions.
struct TensorView {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};

  TensorView() = default;
  TensorView(void* data_in, DType dtype_in, std::initializer_list<int64_t> dims);

  int64_t dim(int i) const { return shape[static_cast<size_t>(i)]; }
  int64_t NumElements() const;
  int64_t NumBytes() const { return NumElements() * DTypeSize(dtype); }
  bool empty() const { return data == nullptr; }
  // Rows [first, first + count) of the first dimension.
  TensorView Rows(int64_t first, int64_t count) const;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data);
  }
};

// Memory, injected. Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  // Null when there is not enough. `alignment` is a power of two.
  virtual void* Allocate(size_t bytes, size_t alignment) = 0;
  virtual void Free(void* pointer, size_t bytes) = 0;
};

// The host's memory: large allocations aligned for, and advised towards, huge
// pages.
class HostAllocator final : public Allocator {
 public:
  void* Allocate(size_t bytes, size_t alignment) override;
  void Free(void* pointer, size_t bytes) override;
};

// Owns one allocation, or refers to memory that is borrowed. Movable; empty after being moved from.
class Buffer {
 public:
  Buffer() = default;
  // RESOURCE_EXHAUSTED naming the size when the allocator has none.
  static StatusOr<Buffer> Create(Allocator& allocator, size_t bytes, size_t alignment = 64);
  // Somebody else's memory, which outlives the buffer and what it is moved to.
  static Buffer Borrow(std::byte* data, size_t bytes);
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Allocator* allocator_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Conversions between float and the 16- and 8-bit formats, round to nearest even.
float BF16ToF32(uint16_t bits);
uint16_t F32ToBF16(float value);
float F16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);
// FP8 with four exponent bits: no infinity, 0x7f and 0xff are NaN. What is larger than
// the largest becomes that; a NaN stays one.
inline constexpr float kE4M3Max = 448.0F;
float E4M3ToF32(uint8_t bits);
uint8_t F32ToE4M3(float value);

}  // namespace inferd
