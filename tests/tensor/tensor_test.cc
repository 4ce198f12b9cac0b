#include "inferd/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
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

TEST(Convert, EveryE4M3SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xff; ++bits) {
    const auto code = static_cast<uint8_t>(bits);
    const float value = E4M3ToF32(code);
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    ASSERT_EQ(F32ToE4M3(value), code) << bits;
    // Between it and the next larger magnitude: the tie goes to the even one.
    if ((bits & 0x7f) == 0x7e) continue;
    const float next = E4M3ToF32(static_cast<uint8_t>(bits + 1));
    const float tie = (value + next) / 2;
    EXPECT_EQ(F32ToE4M3(tie), bits % 2 == 0 ? bits : bits + 1) << bits;
    EXPECT_EQ(F32ToE4M3(std::nextafter(tie, value)), bits) << bits;
    EXPECT_EQ(F32ToE4M3(std::nextafter(tie, next)), bits + 1) << bits;
  }
}

TEST(Convert, E4M3SaturatesAndKeepsNaN) {
  EXPECT_EQ(E4M3ToF32(0x7e), kE4M3Max);
  EXPECT_EQ(E4M3ToF32(1), 0x1p-9F);
  EXPECT_EQ(F32ToE4M3(1e9F), 0x7e);
  EXPECT_EQ(F32ToE4M3(-std::numeric_limits<float>::infinity()), 0xfe);
  EXPECT_TRUE(std::isnan(E4M3ToF32(F32ToE4M3(std::nanf("")))));
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

// The bytes of [begin, end) that lie on huge pages.
int64_t HugeBytes(uintptr_t begin, uintptr_t end) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  int64_t bytes = 0;
  while (std::getline(maps, line)) {
    unsigned long from = 0;  // NOLINT(runtime/int): what sscanf takes
    unsigned long to = 0;    // NOLINT(runtime/int)
    long kibibytes = 0;      // NOLINT(runtime/int)
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      inside = from < end && to > begin;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %ld kB", &kibibytes) == 1) {
      bytes += kibibytes * 1024;
    }
  }
  return bytes;
}

TEST(HostAllocator, LargeBuffersLieOnHugePages) {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string setting;
  if (!std::getline(file, setting) || setting.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "the machine gives no transparent huge pages";
  }
  constexpr size_t kBytes = size_t{64} << 20;
  HostAllocator allocator;
  auto buffer = Buffer::Create(allocator, kBytes);
  ASSERT_TRUE(buffer.ok());
  const auto begin = reinterpret_cast<uintptr_t>(buffer->data());
  EXPECT_EQ(begin % (size_t{2} << 20), 0u);
  std::memset(buffer->data(), 1, kBytes);
  // Not all of them, for memory may be fragmented.
  EXPECT_GE(HugeBytes(begin, begin + kBytes), int64_t{2} << 20);
}

TEST(HostAllocator, SmallBuffersAreOnlyAligned) {
  HostAllocator allocator;
  for (const size_t alignment : {size_t{1}, size_t{64}, size_t{4096}}) {
    void* pointer = allocator.Allocate(1000, alignment);
    ASSERT_NE(pointer, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pointer) % alignment, 0u);
    allocator.Free(pointer, 1000);
  }
}

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
