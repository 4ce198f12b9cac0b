// out[m][n] = bias[n] + sum_g (sum_k q[m][k] (w[n][k] - zero[n][g])) scale[n][g] scale[m][g],
// 4 bits by 8 bits in tiles
//
// Layout: weights in panels of 16 outputs (cpu/linear_int.h); q in tiles of 16 rows by 64
// inputs (cpu/quantize_rows.h); out row-major.
// Order: of two panels a block of groups at a time is unpacked to bytes w - zero, where all rows
// of a chunk pass by, 2 by 2 tiles of out at a time. A group's sums leave the tiles and are scaled
// and added in f32 as LinearInt does it, group after group: so are the bits. A group's bytes
// stand where its inputs stand in the tiles of q, with zeros around them where it fills a tile in
// part, so one shape of tiles does for all groups.
// Bound: scaling a group's sums, 64 vectors of 16 for 2 by 2 tiles, beside its tile products.
// Written for hardware that its author did not have: see linear_int_tiles.cc.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/common.h"
#include "cpu/linear_int.h"
#include "cpu/tile_square.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_int4_tiles.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/linear_int_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr int64_t kRows = kIntTileRows;
constexpr int64_t kColumns = kIntPanelWidth;
constexpr int64_t kInputs = 64;  // of a tile
constexpr int64_t kTileBytes = kInputs * kColumns;
constexpr int64_t kRowBytes = 64;                    // of any tile
constexpr int64_t kChunkBytes = int64_t{384} << 10;  // of rows that stay in L2
// Tiles of bytes that are unpacked at a time, of each of two panels: 64 KB.
constexpr int64_t kMostTiles = 32;
// Groups whose sums leave the tiles before they are added up together.
constexpr int kBatch = 4;
static_assert(kMostTiles * kInputs >= kInt4TileMostGroup);

using Sums = int32_t[2 * kRows][2 * kColumns];

template <class Unit>
class Int4TileProduct {
 public:
  explicit Int4TileProduct(const LinearIntParams& p)
      : p_(p),
        group_(p.layout.group_size),
        groups_(p.layout.in_features / group_),
        per_group_zeros_(p.layout.zero == kZeroPerGroup),
        scale_bytes_(kColumns * (p.layout.half_scales ? 2 : 4)),
        head_bytes_(scale_bytes_ + (per_group_zeros_ ? kColumns : 0)),
        group_bytes_(head_bytes_ + group_ / 2 * kColumns),
        panel_bytes_(IntPanelBytes(p.layout)),
        k_tiles_((p.layout.in_features + kInputs - 1) / kInputs),
        row_tiles_((p.rows + kRows - 1) / kRows) {}

  void Run(int64_t panel_begin, int64_t panel_end) {
    const int64_t chunk =
        std::max<int64_t>(2, kChunkBytes / (k_tiles_ * kRows * kRowBytes) / 2 * 2);
    for (int64_t first = 0; first < row_tiles_; first += chunk) {
      const int64_t last = std::min(first + chunk, row_tiles_);
      for (int64_t panel = panel_begin; panel < panel_end; panel += 2) {
        const int64_t panels = std::min<int64_t>(2, panel_end - panel);
        for (int64_t group = 0; group < groups_;) {
          const int64_t end = Unpack(panel, panels, group);
          for (int64_t row = first; row < last; row += 2) RunMacro(row, panel, panels, group, end);
          group = end;
        }
      }
    }
    unit_.Release();
  }

 private:
  // The tiles of q that group g is in.
  int64_t FirstTile(int64_t g) const { return g * group_ / kInputs; }
  int64_t EndTile(int64_t g) const { return ((g + 1) * group_ + kInputs - 1) / kInputs; }
  const std::byte* HeadOf(int64_t panel, int64_t g) const {
    return p_.weights + panel * panel_bytes_ + g * group_bytes_;
  }

  // Groups from `begin` on, as many as there is room for; returns where they end.
  int64_t Unpack(int64_t panel, int64_t panels, int64_t begin) {
    int64_t tiles = 0;
    int64_t g = begin;
    for (; g < groups_ && tiles + EndTile(g) - FirstTile(g) <= kMostTiles; ++g) {
      for (int64_t i = 0; i < panels; ++i) UnpackGroup(panel + i, g, bytes_[i][tiles]);
      tiles += EndTile(g) - FirstTile(g);
    }
    return g;
  }

  // The low halves of a line are a quad of inputs, the high ones the next. Less their zero points
  // they are signed bytes.
  void UnpackGroup(int64_t panel, int64_t g, uint8_t* to) const {
    const int64_t before = g * group_ % kInputs / 4 * kQuadBytes;
    const int64_t whole = (EndTile(g) - FirstTile(g)) * kTileBytes;
    const int64_t used = group_ * kColumns;
    std::memset(to, 0, static_cast<size_t>(before));
    std::memset(to + before + used, 0, static_cast<size_t>(whole - before - used));
    to += before;
    const auto* head = reinterpret_cast<const uint8_t*>(HeadOf(panel, g));
    const uint8_t* from = head + head_bytes_;
    const DB db;
    const auto low = hn::Set(db, 0x0f);
    hn::Vec<DB> zeros[kVectorsPerPanel];  // four times that of each output
    HWY_UNROLL(4)
    for (int v = 0; v < kVectorsPerPanel; ++v) {
      zeros[v] = hn::Set(db, static_cast<uint8_t>(p_.layout.zero));
      if (per_group_zeros_) {
        const hn::Rebind<uint8_t, DI> dz;
        const auto each = hn::PromoteTo(DI(), hn::LoadU(dz, head + scale_bytes_ + v * kFloatLanes));
        zeros[v] = hn::BitCast(db, hn::Mul(each, hn::Set(DI(), 0x01010101)));
      }
    }
    for (int64_t eight = 0; eight < group_ / 8; ++eight) {
      HWY_UNROLL(4)
      for (int v = 0; v < kVectorsPerPanel; ++v) {
        const auto both = hn::LoadU(db, from + v * kVectorBytes);
        const auto high = hn::BitCast(db, hn::ShiftRight<4>(hn::BitCast(DI(), both)));
        hn::StoreU(hn::Sub(hn::And(both, low), zeros[v]), db, to + v * kVectorBytes);
        hn::StoreU(hn::Sub(hn::And(high, low), zeros[v]), db, to + kQuadBytes + v * kVectorBytes);
      }
      from += kQuadBytes;
      to += 2 * kQuadBytes;
    }
  }

  void Configure(int64_t rows0, int64_t rows1) {
    if (rows0 == rows_[0] && rows1 == rows_[1]) return;
    unit_.Configure(SquareConfig(rows0, rows1));
    rows_[0] = rows0;
    rows_[1] = rows1;
  }

  // Groups [begin, end), which are unpacked, of two tiles of rows and two panels.
  void RunMacro(int64_t row_tile, int64_t panel, int64_t panels, int64_t begin, int64_t end) {
    const int64_t first_row = row_tile * kRows;
    Configure(std::min(kRows, p_.rows - first_row),
              std::clamp(p_.rows - first_row - kRows, int64_t{0}, kRows));
    if (begin == 0) {
      std::memset(totals_, 0, sizeof(totals_));
    } else {
      EachPart(first_row, panel, panels,
               [](float* total, const float* out, int64_t, int64_t count) {
                 std::copy_n(out, count, total);
               });
    }
    int64_t tile = 0;
    for (int64_t g = begin; g < end;) {
      const int64_t count = std::min<int64_t>(kBatch, end - g);
      for (int64_t i = 0; i < count; ++i) {
        MultiplyGroup(first_row, panels, g + i, tile, sums_[i]);
        tile += EndTile(g + i) - FirstTile(g + i);
      }
      for (int64_t i = 0; i < panels; ++i) {
        if (count == kBatch) {
          AddGroups<kBatch>(first_row, panel, i, g, sums_);
        } else {
          for (int64_t j = 0; j < count; ++j) AddGroups<1>(first_row, panel, i, g + j, sums_ + j);
        }
      }
      g += count;
    }
    const float* bias = end == groups_ ? p_.bias : nullptr;
    EachPart(first_row, panel, panels,
             [&](const float* total, float* out, int64_t column, int64_t count) {
               for (int64_t n = 0; n < count; ++n) {
                 out[n] = bias != nullptr ? total[n] + bias[column + n] : total[n];
               }
             });
  }

  // act(total, out, first column, columns) for each row's outputs of each panel.
  template <class Act>
  void EachPart(int64_t first_row, int64_t panel, int64_t panels, const Act& act) {
    for (int64_t m = 0; m < rows_[0] + rows_[1]; ++m) {
      for (int64_t i = 0; i < panels; ++i) {
        const int64_t column = (panel + i) * kColumns;
        act(totals_[m] + i * kColumns, p_.out + (first_row + m) * p_.out_features + column, column,
            std::min(kColumns, p_.out_features - column));
      }
    }
  }

  // The sums of group g, whose bytes begin at `tile`.
  void MultiplyGroup(int64_t first_row, int64_t panels, int64_t g, int64_t tile, Sums& sums) {
    if (rows_[1] > 0) {
      panels == 2 ? Dots<2, 2>(first_row, g, tile, sums) : Dots<2, 1>(first_row, g, tile, sums);
    } else {
      panels == 2 ? Dots<1, 2>(first_row, g, tile, sums) : Dots<1, 1>(first_row, g, tile, sums);
    }
  }

  template <int kRowTiles, int kPanels>
  void Dots(int64_t first_row, int64_t g, int64_t tile, Sums& sums) {
    const int64_t first_tile = FirstTile(g);
    const int8_t* a0 = p_.q + first_row * k_tiles_ * kRowBytes + first_tile * rows_[0] * kRowBytes;
    const int8_t* a1 = p_.q + (first_row + kRows) * k_tiles_ * kRowBytes +
                       first_tile * rows_[1] * kRowBytes;  // not used without a second tile
    using Square = TileSquare<Unit, kRowTiles, kPanels>;
    Square::Zero(unit_);
    for (int64_t k = first_tile; k < EndTile(g); ++k, ++tile) {
      Square::template Multiply<DotsOfS8S8>(unit_, a0, a1, bytes_[0][tile], bytes_[1][tile],
                                            kRowBytes);
      a0 += rows_[0] * kRowBytes;
      a1 += rows_[1] * kRowBytes;
    }
    Square::Store(unit_, sums, sizeof(sums[0]));
  }

  // totals += the sums of kGroups groups from g on of panel `panel` + i, scaled.
  template <int kGroups>
  void AddGroups(int64_t first_row, int64_t panel, int64_t i, int64_t g, const Sums* sums) {
    for (int v = 0; v < kVectorsPerPanel; ++v) {
      VF scale[kGroups];
      HWY_UNROLL(4)
      for (int j = 0; j < kGroups; ++j) {
        const auto* head = reinterpret_cast<const uint8_t*>(HeadOf(panel + i, g + j));
        scale[j] = LoadScales(head, p_.layout.half_scales, v);
      }
      const int64_t column = i * kColumns + v * kFloatLanes;
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t height = rows_[half];
        const RowScale* rows = p_.scales + (first_row + half * kRows) * groups_ + g * height;
        for (int64_t m = half * kRows; m < half * kRows + height; ++m, ++rows) {
          VF total = hn::LoadU(DF(), totals_[m] + column);
          HWY_UNROLL(4)
          for (int j = 0; j < kGroups; ++j) {
            const VI sum = hn::LoadU(DI(), sums[j][m] + column);
            const VF scaled = hn::Mul(hn::ConvertTo(DF(), sum), scale[j]);
            total = hn::MulAdd(scaled, hn::Set(DF(), rows[j * height].scale), total);
          }
          hn::StoreU(total, DF(), totals_[m] + column);
        }
      }
    }
  }

  const LinearIntParams& p_;
  const int64_t group_;
  const int64_t groups_;
  const bool per_group_zeros_;
  const int64_t scale_bytes_;
  const int64_t head_bytes_;   // of a group: scales and zeros
  const int64_t group_bytes_;  // of a panel
  const int64_t panel_bytes_;
  const int64_t k_tiles_;
  const int64_t row_tiles_;
  int64_t rows_[2] = {0, 0};  // configured
  Unit unit_;
  alignas(64) uint8_t bytes_[2][kMostTiles][kTileBytes];
  alignas(64) Sums sums_[kBatch];
  alignas(64) float totals_[2 * kRows][2 * kColumns];
};

void LinearInt4TilesTarget(const LinearIntParams& p, bool emulated, int64_t panel_begin,
                           int64_t panel_end) {
#if HWY_ARCH_X86_64
  if (!emulated) {
    Int4TileProduct<AmxTiles>(p).Run(panel_begin, panel_end);
    return;
  }
#endif
  static_cast<void>(emulated);
  Int4TileProduct<EmulatedTiles>(p).Run(panel_begin, panel_end);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(LinearInt4TilesTarget);
}  // namespace

bool TilesTake(const IntLayout& layout) {
  return layout.bits == 8 || layout.group_size <= kInt4TileMostGroup;
}

void LinearInt4Tiles(const LinearIntParams& p, bool emulated, int64_t panel_begin,
                     int64_t panel_end) {
  HWY_DYNAMIC_DISPATCH(LinearInt4TilesTarget)(p, emulated, panel_begin, panel_end);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
