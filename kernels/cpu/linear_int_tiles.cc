// out[m][n] = bias[n] + (sum_k q[m][k] (w[n][k] - zero)) scale[n] scale[m], 8 bits by 8
// bits in tiles
//
// Layout: weights in panels of 16 outputs (cpu/linear_int.h), of which 16 quads of
// inputs are a tile as they are, 1024 bytes in one piece; q in tiles of 16 rows by 64
// inputs (cpu/quantize_rows.h); out row-major.
// Order: 2 by 2 tiles of out at a time, four chains that hide the latency of TDPBSUD,
// through the whole of k. Rows in chunks that stay in L2 pass by two panels at a time.
// Sums are exact integers, and what follows in f32 is what LinearInt does: so are the
// bits.
// Bound: weight bytes for few rows, tile products (1024 multiply-adds per cycle)
// beyond. Written for hardware that its author did not have: in the tests the emulated
// unit stands for it, and its machine code is interpreted (tests/kernels/cpu); no speed was
// measured.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/common.h"
#include "cpu/linear_int.h"
#include "cpu/tile_square.h"

namespace inferd::kernels {
namespace {

constexpr int64_t kRows = kIntTileRows;
constexpr int64_t kColumns = kIntPanelWidth;
constexpr int64_t kInputs = 64;
constexpr int64_t kQuads = kInputs / 4;
constexpr int64_t kRowBytes = 64;  // of any tile
constexpr int64_t kWeightTileBytes = kQuads * kRowBytes;
constexpr int64_t kChunkBytes = int64_t{384} << 10;  // of rows that stay in L2
constexpr int64_t kPrefetchBytes = 4096;

using Sums = int32_t[2 * kRows][2 * kColumns];

template <class Unit>
class IntTileProduct {
 public:
  explicit IntTileProduct(const LinearIntParams& p)
      : p_(p),
        panel_bytes_(IntPanelBytes(p.layout)),
        quads_((p.layout.in_features + 3) / 4),
        k_tiles_((p.layout.in_features + kInputs - 1) / kInputs),
        row_tiles_((p.rows + kRows - 1) / kRows) {}

  void Run(int64_t panel_begin, int64_t panel_end) {
    const int64_t chunk =
        std::max<int64_t>(2, kChunkBytes / (k_tiles_ * kRows * kRowBytes) / 2 * 2);
    for (int64_t first = 0; first < row_tiles_; first += chunk) {
      const int64_t last = std::min(first + chunk, row_tiles_);
      for (int64_t panel = panel_begin; panel < panel_end; panel += 2) {
        for (int64_t row = first; row < last; row += 2) {
          RunMacro(row, panel, panel + 1 < panel_end);
        }
      }
    }
    unit_.Release();
  }

 private:
  void RunMacro(int64_t row_tile, int64_t panel, bool two_panels) {
    const int64_t first_row = row_tile * kRows;
    const int64_t rows[2] = {std::min(kRows, p_.rows - first_row),
                             std::clamp(p_.rows - first_row - kRows, int64_t{0}, kRows)};
    if (rows[0] != rows_[0] || rows[1] != rows_[1]) {
      unit_.Configure(SquareConfig(rows[0], rows[1]));
      rows_[0] = rows[0];
      rows_[1] = rows[1];
    }
    alignas(64) Sums sums;
    if (rows[1] > 0) {
      two_panels ? Dots<2, 2>(first_row, panel, sums) : Dots<2, 1>(first_row, panel, sums);
    } else {
      two_panels ? Dots<1, 2>(first_row, panel, sums) : Dots<1, 1>(first_row, panel, sums);
    }
    Finish(sums, 0, first_row, rows[0] + rows[1], panel);
    if (two_panels) Finish(sums, kColumns, first_row, rows[0] + rows[1], panel + 1);
  }

  template <int kRowTiles, int kPanels>
  void Dots(int64_t first_row, int64_t panel, Sums& sums) {
    const int8_t* a0 = p_.q + first_row * k_tiles_ * kRowBytes;
    const int8_t* a1 = a0 + kRows * k_tiles_ * kRowBytes;  // not used without a second tile
    const std::byte* b0 = p_.weights + panel * panel_bytes_;
    const std::byte* b1 = b0 + panel_bytes_;
    using Square = TileSquare<Unit, kRowTiles, kPanels>;
    Square::Zero(unit_);
    const int64_t whole = quads_ / kQuads;
    for (int64_t k = 0; k < whole; ++k) {
      if (row_tiles_ <= 2) {  // the weights come from memory
        for (int64_t line = 0; line < kQuads; ++line) {
          __builtin_prefetch(b0 + kPrefetchBytes + line * kRowBytes);
          if constexpr (kPanels == 2) __builtin_prefetch(b1 + kPrefetchBytes + line * kRowBytes);
        }
      }
      Square::template Multiply<DotsOfS8U8>(unit_, a0, a1, b0, b1, kRowBytes);
      a0 += rows_[0] * kRowBytes;
      a1 += rows_[1] * kRowBytes;
      b0 += kWeightTileBytes;
      b1 += kWeightTileBytes;
    }
    if (const int64_t rest = quads_ % kQuads; rest > 0) {
      // The panel's values end within a tile: complete it with zeros.
      alignas(64) std::byte last[2][kWeightTileBytes] = {};
      std::memcpy(last[0], b0, static_cast<size_t>(rest * kRowBytes));
      if constexpr (kPanels == 2) std::memcpy(last[1], b1, static_cast<size_t>(rest * kRowBytes));
      Square::template Multiply<DotsOfS8U8>(unit_, a0, a1, last[0], last[1], kRowBytes);
    }
    Square::Store(unit_, sums, sizeof(sums[0]));
  }

  // The sums of a panel, at `offset` in theirs, to out, as LinearInt rounds them.
  void Finish(const Sums& sums, int64_t offset, int64_t first_row, int64_t rows,
              int64_t panel) const {
    const int64_t column = panel * kColumns;
    const int64_t count = std::min(kColumns, p_.out_features - column);
    float scales[kColumns];
    std::memcpy(scales, p_.weights + panel * panel_bytes_ + quads_ * kRowBytes, sizeof(scales));
    for (int64_t m = 0; m < rows; ++m) {
      const RowScale& row = p_.scales[first_row + m];
      float* out = p_.out + (first_row + m) * p_.out_features + column;
      for (int64_t n = 0; n < count; ++n) {
        const uint32_t sum =
            static_cast<uint32_t>(sums[m][offset + n]) + static_cast<uint32_t>(row.correction);
        float value = static_cast<float>(static_cast<int32_t>(sum)) * scales[n] * row.scale;
        if (p_.bias != nullptr) value += p_.bias[column + n];
        out[n] = value;
      }
    }
  }

  const LinearIntParams& p_;
  const int64_t panel_bytes_;
  const int64_t quads_;
  const int64_t k_tiles_;
  const int64_t row_tiles_;
  int64_t rows_[2] = {0, 0};  // configured
  Unit unit_;
};

}  // namespace

void LinearIntTiles(const LinearIntParams& p, bool emulated, int64_t panel_begin,
                    int64_t panel_end) {
#if defined(__x86_64__)
  if (!emulated) {
    IntTileProduct<AmxTiles>(p).Run(panel_begin, panel_end);
    return;
  }
#endif
  static_cast<void>(emulated);
  IntTileProduct<EmulatedTiles>(p).Run(panel_begin, panel_end);
}

}  // namespace inferd::kernels
