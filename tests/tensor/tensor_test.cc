#include "inferd/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace inferd {
namespace {

TEST(Convert, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if (!std::isnan(F16ToF32(half))) {
      ASSERT_EQ(F32ToF16(F16ToF32(half)), half) << bits;
    }
    if (!std::isnan(BF16ToF32(half))) {
      ASSERT_EQ(F32ToBF16(BF16ToF32(half)), half) << bits;
    }
  }
}

TEST(Convert, RoundsToNearestEven) {
  EXPECT_EQ(F32ToBF16(1.0F + 0x1.0p-8F), F32ToBF16(1.0F));              // tie, even below
  EXPECT_EQ(F32ToBF16(1.0F + 0x1.8p-7F), F32ToBF16(1.0F + 0x1.0p-6F));  // tie, even above
  EXPECT_EQ(F16ToF32(F32ToF16(1.0F + 0x1.0p-11F)), 1.0F);
  EXPECT_EQ(F16ToF32(F32ToF16(1.0F + 0x1.8p-10F)), 1.0F + 0x1.0p-9F);
  EXPECT_EQ(F16ToF32(F32ToF16(65520.0F)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(F16ToF32(F32ToF16(65519.0F)), 65504.0F);
  EXPECT_EQ(F16ToF32(F32ToF16(0x1.0p-25F)), 0.0F);  // tie with zero, which is even
  EXPECT_TRUE(std::isnan(BF16ToF32(F32ToBF16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(std::nanf("")))));
}

TEST(TensorView, RowsPointIntoTheMiddle) {
  std::vector<float> data(12);
  const TensorView t(data.data(), DType::kF32, {4, 3});
  EXPECT_EQ(t.Rows(2, 2).As<float>(), data.data() + 6);
  EXPECT_EQ(t.Rows(2, 2).NumBytes(), 24);
}

class LimitedAllocator final : public Allocator {
 public:
  void* Allocate(size_t bytes, size_t alignment) override {
    if (used + bytes > 1000) return nullptr;
    used += bytes;
    return host_.Allocate(bytes, alignment);
  }
  void Free(void* pointer, size_t bytes) override {
    used -= bytes;
    host_.Free(pointer, bytes);
  }
  size_t used = 0;

 private:
  HostAllocator host_;
};

TEST(Buffer, ReturnsItsMemoryAndReportsRefusal) {
  LimitedAllocator allocator;
  {
    auto a = Buffer::Create(allocator, 1000);
    ASSERT_TRUE(a.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a->data()) % 64, 0u);
    EXPECT_EQ(Buffer::Create(allocator, 1).status().code(), StatusCode::kResourceExhausted);
    Buffer moved = std::move(*a);
    EXPECT_EQ(moved.size(), 1000u);
  }
  EXPECT_EQ(allocator.used, 0u);
}

}  // namespace
}  // namespace inferd
