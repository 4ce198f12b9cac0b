// Small products with every kind of edge, by the processor's tiles and by the emulation: whether
// the instructions do what the manual says, asked before they are used.
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/common.h"
#include "cpu/linear_int.h"
#include "cpu/tile_unit.h"

namespace inferd::kernels {
namespace {

constexpr int64_t kM = 35;
constexpr int64_t kN = 41;
constexpr int64_t kPanels = (kN + kIntPanelWidth - 1) / kIntPanelWidth;

class Numbers {
 public:
  uint32_t Next() {
    state_ = state_ * 1664525U + 1013904223U;
    return state_ >> 16;
  }
  float NextScale() { return 1.0F / static_cast<float>(3 + Next()); }

 private:
  uint32_t state_ = 12345;
};

bool Agree(const IntLayout& layout) {
  const int64_t in = layout.in_features;
  const int64_t groups = in / layout.group_size;
  Numbers numbers;
  std::vector<int8_t> q(static_cast<size_t>(kM * RoundUp(in, 64)));
  for (int8_t& value : q) value = static_cast<int8_t>(numbers.Next() % 255 - 127);
  std::vector<RowScale> scales(static_cast<size_t>(kM * groups));
  for (RowScale& scale : scales) {
    scale = {numbers.NextScale(), static_cast<int32_t>(numbers.Next())};
  }
  std::vector<float> bias(kN);
  for (float& value : bias) value = numbers.NextScale();

  // Of a panel's outputs, as a checkpoint has them.
  const int64_t row_bytes = (in * layout.bits + 7) / 8;
  std::vector<uint8_t> values(static_cast<size_t>(kIntPanelWidth * row_bytes));
  std::vector<float> weight_scales(static_cast<size_t>(kIntPanelWidth * groups));
  std::vector<uint8_t> zeros(static_cast<size_t>(kIntPanelWidth * groups));
  std::vector<std::byte> weights(static_cast<size_t>(kPanels * IntPanelBytes(layout)));
  for (int64_t panel = 0; panel < kPanels; ++panel) {
    for (uint8_t& value : values) value = static_cast<uint8_t>(numbers.Next());
    for (float& scale : weight_scales) scale = numbers.NextScale();
    for (uint8_t& zero : zeros) zero = static_cast<uint8_t>(numbers.Next() % 16);
    IntRow rows[kIntPanelWidth];
    for (int64_t j = 0; j < kIntPanelWidth; ++j) {
      rows[j] = {&values[static_cast<size_t>(j * row_bytes)],
                 &weight_scales[static_cast<size_t>(j * groups)],
                 &zeros[static_cast<size_t>(j * groups)]};
    }
    PackIntPanel(layout, rows, kIntPanelWidth, weights.data() + panel * IntPanelBytes(layout));
  }

  std::vector<float> out[2];
  for (int i = 0; i < 2; ++i) {
    out[i].resize(static_cast<size_t>(kM * kN));
    const LinearIntParams p{DotUnit::kWiden, layout,       weights.data(), kN,
                            bias.data(),     q.data(),     scales.data(),  kM,
                            kIntTileRows,    out[i].data()};
    const auto multiply = layout.bits == 4 ? LinearInt4Tiles : LinearIntTiles;
    multiply(p, /*emulated=*/i == 1, 0, kPanels);
  }
  return std::memcmp(out[0].data(), out[1].data(), out[0].size() * sizeof(float)) == 0;
}

}  // namespace

bool IntTilesAgree() {
  // Several tiles, the last of 8 bits in part, the last quad too; groups that end within a tile.
  return AmxInt8Runs() && Agree({.bits = 8, .in_features = 331, .group_size = 331}) &&
         Agree({.bits = 4, .in_features = 480, .group_size = 96, .zero = kZeroPerGroup});
}

}  // namespace inferd::kernels
