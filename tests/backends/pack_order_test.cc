// Packed weights against their layout as the headers state it, value by value, on each
// instruction set of this machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "backends/instruction_sets.h"
#include "cpu/common.h"
#include "cpu/linear.h"
#include "cpu/linear_fp8.h"
#include "cpu/linear_int.h"

namespace inferd {
namespace {

using kernels::Element;
using testing::OnlyTarget;
using testing::Targets;

// Rows of any bytes, each at an address of its own that is aligned to nothing.
class Rows {
 public:
  Rows(int64_t count, int64_t bytes, std::mt19937* random) {
    for (int64_t j = 0; j < count; ++j) {
      const size_t skipped = (*random)() % 8;
      std::vector<uint8_t>& row = memory_.emplace_back(skipped + static_cast<size_t>(bytes));
      for (uint8_t& byte : row) byte = static_cast<uint8_t>((*random)());
      rows_.push_back(row.data() + skipped);
    }
  }
  const void* const* pointers() const { return rows_.data(); }
  const uint8_t* operator[](int64_t j) const {
    return static_cast<const uint8_t*>(rows_[static_cast<size_t>(j)]);
  }

 private:
  std::vector<std::vector<uint8_t>> memory_;
  std::vector<const void*> rows_;
};

// Where a panel is written: what it holds is dirty before, and nothing follows it.
struct Panel {
  explicit Panel(int64_t bytes) : size(static_cast<size_t>(bytes)), memory(size + 64, 0xa5) {}
  bool KeptItsEnd() const {
    return std::all_of(memory.begin() + static_cast<ptrdiff_t>(size), memory.end(),
                       [](uint8_t byte) { return byte == 0xa5; });
  }
  std::vector<uint8_t> Content() const { return {memory.begin(), memory.end() - 64}; }
  size_t size;
  std::vector<uint8_t> memory;
};

void CheckFloats(Element element, int64_t count, int64_t in, std::mt19937* random) {
  const int64_t width = kernels::LinearPanelWidth();
  const int64_t size = element == Element::kF32 ? 4 : 2;
  const Rows rows(count, in * size, random);
  Panel panel(kernels::LinearPackedBytes(element, width, in));
  kernels::PackLinearPanel(element, rows.pointers(), count, in, panel.memory.data());
  std::vector<uint8_t> expected(panel.size);
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t k = 0; k < in; ++k) {
      const int64_t place =
          element == Element::kBF16 ? (k / 2 * width + j) * 2 + k % 2 : k * width + j;
      std::memcpy(expected.data() + place * size, rows[j] + k * size, static_cast<size_t>(size));
    }
  }
  EXPECT_EQ(panel.Content(), expected) << count << " by " << in;
  EXPECT_TRUE(panel.KeptItsEnd());
}

TEST(PackOrderTest, Floats) {
  std::mt19937 random(31);
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(kernels::TargetName());
    const int64_t width = kernels::LinearPanelWidth();
    for (const Element element : {Element::kF32, Element::kF16, Element::kBF16}) {
      for (int64_t in = 1; in <= 70; ++in) CheckFloats(element, width, in, &random);
      for (int64_t count = 1; count < width; ++count) CheckFloats(element, count, 67, &random);
      CheckFloats(element, width, 1000, &random);
    }
  }
}

TEST(PackOrderTest, EightBits) {
  std::mt19937 random(32);
  constexpr int64_t kWidth = kernels::kIntPanelWidth;
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(kernels::TargetName());
    for (int round = 0; round < 150; ++round) {
      const int64_t count = round % 2 == 0 ? kWidth : 1 + random() % kWidth;
      kernels::IntLayout layout;
      layout.in_features = layout.group_size = 1 + random() % 150;
      const int64_t in = layout.in_features;
      const Rows values(count, in, &random);
      const Rows scales(count, 4, &random);
      std::vector<kernels::IntRow> rows;
      for (int64_t j = 0; j < count; ++j) rows.push_back({values[j], scales[j], nullptr});
      Panel panel(kernels::IntPanelBytes(layout));
      kernels::PackIntPanel(layout, rows.data(), count,
                            reinterpret_cast<std::byte*>(panel.memory.data()));
      std::vector<uint8_t> expected(panel.size);
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t k = 0; k < in; ++k) {
          expected[static_cast<size_t>((k / 4 * kWidth + j) * 4 + k % 4)] =
              static_cast<uint8_t>(values[j][k] + 128);
        }
        std::memcpy(expected.data() + (in + 3) / 4 * 4 * kWidth + j * 4, scales[j], 4);
      }
      EXPECT_EQ(panel.Content(), expected) << count << " by " << in;
      EXPECT_TRUE(panel.KeptItsEnd());
    }
  }
}

TEST(PackOrderTest, FourBits) {
  std::mt19937 random(33);
  constexpr int64_t kWidth = kernels::kIntPanelWidth;
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(kernels::TargetName());
    for (int round = 0; round < 150; ++round) {
      const int64_t count = round % 2 == 0 ? kWidth : 1 + random() % kWidth;
      const int64_t groups = 1 + random() % 3;
      kernels::IntLayout layout;
      layout.bits = 4;
      layout.group_size = 32 * (1 + random() % 4);
      layout.in_features = groups * layout.group_size;
      layout.zero = random() % 2 == 0 ? 8 : kernels::kZeroPerGroup;
      const int64_t zeros_bytes = layout.zero == 8 ? 0 : kWidth;
      const Rows values(count, layout.in_features / 2, &random);
      const Rows scales(count, groups * 4, &random);
      const Rows zeros(count, groups, &random);
      std::vector<kernels::IntRow> rows;
      for (int64_t j = 0; j < count; ++j) rows.push_back({values[j], scales[j], zeros[j]});
      Panel panel(kernels::IntPanelBytes(layout));
      kernels::PackIntPanel(layout, rows.data(), count,
                            reinterpret_cast<std::byte*>(panel.memory.data()));
      std::vector<uint8_t> expected(panel.size);
      uint8_t* to = expected.data();
      for (int64_t g = 0; g < groups; ++g) {
        for (int64_t j = 0; j < count; ++j) {
          std::memcpy(to + j * 4, scales[j] + g * 4, 4);
          if (zeros_bytes > 0) to[kWidth * 4 + j] = zeros[j][g];
          for (int64_t i = 0; i < layout.group_size; ++i) {
            const int64_t k = g * layout.group_size + i;
            const int value = values[j][k / 2] >> (k % 2 * 4) & 15;
            to[kWidth * 4 + zeros_bytes + (i / 8 * kWidth + j) * 4 + i % 4] |=
                static_cast<uint8_t>(value << (i % 8 / 4 * 4));
          }
        }
        to += kWidth * 4 + zeros_bytes + layout.group_size * kWidth / 2;
      }
      EXPECT_EQ(panel.Content(), expected) << count << " by " << layout.in_features;
      EXPECT_TRUE(panel.KeptItsEnd());
    }
  }
}

TEST(PackOrderTest, Fp8) {
  std::mt19937 random(34);
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(kernels::TargetName());
    const int64_t width = kernels::LinearPanelWidth();
    for (int round = 0; round < 60; ++round) {
      kernels::Fp8Layout layout;
      layout.out_features = round % 2 == 0 ? 128 : 1 + random() % 300;
      layout.in_features = layout.group_size = 1 + random() % 300;
      const int64_t out = layout.out_features;
      const int64_t in = layout.in_features;
      const Rows codes(out, in, &random);
      const Rows scales(out, 4, &random);
      Panel packed(layout.packed_bytes());
      std::vector<uint8_t> expected(packed.size);
      uint8_t* to = expected.data();
      for (int64_t first = 0; first < out; first += kernels::kFp8Columns) {
        std::vector<kernels::Fp8Row> rows;
        const int64_t columns = std::min(kernels::kFp8Columns, out - first);
        for (int64_t j = 0; j < columns; ++j) rows.push_back({codes[first + j], scales[first + j]});
        kernels::PackFp8Columns(layout, rows.data(), first / kernels::kFp8Columns,
                                packed.memory.data());
        for (int64_t k = 0; k < in; k += layout.block_inputs()) {
          const int64_t n = std::min(layout.block_inputs(), in - k);
          for (int64_t panel = 0; panel < columns; panel += width) {
            for (int64_t j = 0; j < std::min(width, columns - panel); ++j) {
              for (int64_t i = 0; i < n; ++i) {
                to[(i / 2 * width + j) * 2 + i % 2] = codes[first + panel + j][k + i];
              }
            }
            to += (n + n % 2) * width;
          }
        }
      }
      // What aligns the scales is nobody's.
      uint8_t* const scales_at = expected.data() + layout.code_bytes();
      std::fill(to, scales_at, 0xa5);
      for (int64_t j = 0; j < out; ++j) std::memcpy(scales_at + j * 4, scales[j], 4);
      EXPECT_EQ(packed.Content(), expected) << out << " by " << in;
      EXPECT_TRUE(packed.KeptItsEnd());
    }
  }
}

}  // namespace
}  // namespace inferd
