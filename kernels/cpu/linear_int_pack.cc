// Integer weights into panels.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/common.h"
#include "cpu/linear_int.h"
#include "cpu/transpose.h"

namespace inferd::kernels {
namespace {

static_assert(std::endian::native == std::endian::little, "quads are moved as words");

uint32_t LoadWord(const void* from, int64_t offset) {
  uint32_t word = 0;
  std::memcpy(&word, static_cast<const std::byte*>(from) + offset, sizeof(word));
  return word;
}

float LoadScale(const void* scales, int64_t i) {
  return std::bit_cast<float>(LoadWord(scales, i * 4));
}

// The f16 of a float, when it is one exactly.
struct Half {
  bool exact;
  uint16_t bits;
};
Half ToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const float magnitude = std::abs(value);
  if (magnitude == 0) return {true, sign};
  // The least f16 is 2^-24, the greatest 65504; from 2^-14 on they have 11 digits,
  // below they are multiples of 2^-24.
  if (!(magnitude >= 0x1p-24F && magnitude <= 65504.0F)) return {false, 0};
  if (magnitude < 0x1p-14F) {
    const float units = magnitude * 0x1p24F;
    const auto whole = static_cast<uint16_t>(units);
    return {static_cast<float>(whole) == units, static_cast<uint16_t>(sign | whole)};
  }
  const uint32_t rebased = (bits & 0x7fffffffu) - ((127u - 15u) << 23);
  return {(bits & 0x1fffu) == 0, static_cast<uint16_t>(sign | (rebased >> 13))};
}

int64_t HeadBytes(const IntLayout& layout) {
  return kIntPanelWidth * ((layout.half_scales ? 2 : 4) + (layout.zero == kZeroPerGroup ? 1 : 0));
}

void PackInt8(const IntLayout& layout, const IntRow* rows, int64_t count, std::byte* panel) {
  const int64_t in = layout.in_features;
  const void* values[kIntPanelWidth];
  for (int64_t j = 0; j < count; ++j) values[j] = rows[j].values;
  TransposeWords(WordChange::kFlipSigns, values, count, 0, in / 4, kIntPanelWidth, panel);
  std::byte* const scales = panel + RoundUp(in, 4) * kIntPanelWidth;
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t k = in / 4 * 4; k < in; ++k) {
      panel[k / 4 * 4 * kIntPanelWidth + j * 4 + k % 4] =
          static_cast<const std::byte*>(rows[j].values)[k] ^ std::byte{0x80};
    }
    std::memcpy(scales + j * 4, rows[j].scales, 4);
  }
}

void PackInt4(const IntLayout& layout, const IntRow* rows, int64_t count, std::byte* panel) {
  const int64_t group_bytes = layout.group_size / 2;
  const int64_t head_bytes = HeadBytes(layout);
  const int64_t scale_size = layout.half_scales ? 2 : 4;
  const void* values[kIntPanelWidth];
  for (int64_t j = 0; j < count; ++j) values[j] = rows[j].values;
  for (int64_t g = 0; g < layout.in_features / layout.group_size; ++g) {
    for (int64_t j = 0; j < count; ++j) {
      const float scale = LoadScale(rows[j].scales, g);
      if (layout.half_scales) {
        const uint16_t half = ToHalf(scale).bits;
        std::memcpy(panel + j * 2, &half, 2);
      } else {
        std::memcpy(panel + j * 4, &scale, 4);
      }
      if (layout.zero == kZeroPerGroup) {
        panel[kIntPanelWidth * scale_size + j] = static_cast<std::byte>(rows[j].zeros[g]);
      }
    }
    TransposeWords(WordChange::kSpreadHalfBytes, values, count, g * group_bytes, group_bytes / 4,
                   kIntPanelWidth, panel + head_bytes);
    panel += head_bytes + group_bytes * kIntPanelWidth;
  }
}

}  // namespace

int64_t IntPanelBytes(const IntLayout& layout) {
  if (layout.bits == 8) {
    return RoundUp(layout.in_features, 4) * kIntPanelWidth + kIntPanelWidth * 4;
  }
  const int64_t groups = layout.in_features / layout.group_size;
  return groups * (HeadBytes(layout) + layout.group_size * kIntPanelWidth / 2);
}

void PackIntPanel(const IntLayout& layout, const IntRow* rows, int64_t count, std::byte* panel) {
  if (count < kIntPanelWidth || layout.in_features % 4 != 0) {
    std::memset(panel, 0, static_cast<size_t>(IntPanelBytes(layout)));
  }
  if (layout.bits == 8) {
    PackInt8(layout, rows, count, panel);
  } else {
    PackInt4(layout, rows, count, panel);
  }
}

bool ScalesFitF16(const void* scales, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!ToHalf(LoadScale(scales, i)).exact) return false;
  }
  return true;
}

}  // namespace inferd::kernels
