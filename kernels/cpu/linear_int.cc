// out[m][n] = bias[n] + sum_g (sum_k q[m][k] (w[n][k] - zero[n][g])) scale[n][g] scale[m][g]
//
// Layout: weights in panels (cpu/linear_int.h), q in tiles of rows
// (cpu/quantize_rows.h), out row-major.
// Order: every tile goes through the whole of k. A single one reads its panels from
// DRAM, as many streams as the tile has panels, each from one end of the range to the
// other. With more tiles, chunks of rows stay in L2; of each few panels all tiles of
// the chunk pass by, and share in asking for the next few.
// Bound: weight bytes for few rows, dot products beyond.
#include "cpu/linear_int.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_int.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/linear_int_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr int64_t kChunkBytes = int64_t{384} << 10;  // of rows that stay in L2
constexpr int64_t kAheadBytes = 4096;                // asked for before use, over all streams
constexpr int64_t kMostPanels = 4;                   // of a tile

using IntTile = void (*)(const IntTileArgs&);
struct IntTileEntry {
  int64_t panels;
  IntTile wide[2];    // that many panels; [8, 4 bits]
  IntTile single[2];  // one panel
};

template <class Unit, int kRows>
constexpr IntTileEntry MakeIntEntry() {
  constexpr int kPanels = IntTilePanels<Unit>(kRows);
  static_assert(kPanels <= kMostPanels);
  return {kPanels,
          {&TileInt8<Unit, kRows, kPanels>, &TileInt4<Unit, kRows, kPanels>},
          {&TileInt8<Unit, kRows, 1>, &TileInt4<Unit, kRows, 1>}};
}

const IntTileEntry& IntEntryFor(DotUnit unit, int64_t rows) {
  using W = WidenUnit;
  static constexpr IntTileEntry kWiden[] = {
    MakeIntEntry<W, 1>(),
    MakeIntEntry<W, 2>(),
    MakeIntEntry<W, 3>(),
    MakeIntEntry<W, 4>(),
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
    MakeIntEntry<W, 5>(),
    MakeIntEntry<W, 6>(),
    MakeIntEntry<W, 7>(),
    MakeIntEntry<W, 8>(),
#endif
  };
  static_assert(std::size(kWiden) == W::kMaxRows);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  using V = VnniUnit;
  static constexpr IntTileEntry kVnni[] = {
      MakeIntEntry<V, 1>(), MakeIntEntry<V, 2>(),  MakeIntEntry<V, 3>(),  MakeIntEntry<V, 4>(),
      MakeIntEntry<V, 5>(), MakeIntEntry<V, 6>(),  MakeIntEntry<V, 7>(),  MakeIntEntry<V, 8>(),
      MakeIntEntry<V, 9>(), MakeIntEntry<V, 10>(), MakeIntEntry<V, 11>(), MakeIntEntry<V, 12>(),
  };
  static_assert(std::size(kVnni) == V::kMaxRows);
  if (unit == DotUnit::kVnni) return kVnni[rows - 1];
#endif
  static_cast<void>(unit);
  return kWiden[rows - 1];
}

// One of the tiles that a few panels meet.
struct TileTurn {
  int64_t tile;
  int64_t turn;  // of `turns`
  int64_t turns;
};

// Panels [begin, end) of one tile of rows.
void RunIntTile(const LinearIntParams& p, const TileTurn& turn, int64_t begin, int64_t end) {
  const IntLayout& layout = p.layout;
  const int64_t first_row = turn.tile * p.tile_rows;
  const int64_t rows = std::min(p.tile_rows, p.rows - first_row);
  const IntTileEntry& entry = IntEntryFor(p.unit, rows);
  const bool four = layout.bits == 4;
  const int64_t panel_bytes = IntPanelBytes(layout);

  IntTileArgs t;
  t.quads = (layout.in_features + 3) / 4;
  t.groups = layout.in_features / layout.group_size;
  t.half_scales = layout.half_scales;
  t.zero_per_group = layout.zero == kZeroPerGroup;
  t.q = p.q + first_row * t.quads * 4;
  t.scales = p.scales + first_row * t.groups;
  t.ldc = p.out_features;
  t.prefetch_heads = turn.turns == 1;
  const auto place = [&](int64_t panel, int64_t panels) {
    t.weights = reinterpret_cast<const uint8_t*>(p.weights) + panel * panel_bytes;
    t.bias = p.bias != nullptr ? p.bias + panel * kIntPanelWidth : nullptr;
    t.c = p.out + first_row * p.out_features + panel * kIntPanelWidth;
    if (turn.turns == 1) {
      t.prefetch = t.weights + kAheadBytes / panels;
      t.prefetch_step = kQuadBytes;
      return;
    }
    // This turn's share of the next panels.
    const int64_t lines = four ? t.quads / 2 : t.quads;
    t.prefetch_step = (panel_bytes + turn.turns * lines - 1) / (turn.turns * lines);
    t.prefetch = t.weights + panels * panel_bytes + turn.turn * lines * t.prefetch_step;
  };

  // Panels of full width: a tile takes every one of its own `apart` from the next, so
  // that each is a stream from one tile to the next.
  const int64_t full_end = std::min(end, p.out_features / kIntPanelWidth);
  const int64_t apart = std::max<int64_t>(0, full_end - begin) / entry.panels;
  t.panel_stride = apart * panel_bytes;
  t.column_stride = apart * kIntPanelWidth;
  for (int64_t panel = begin; panel < begin + apart; ++panel) {
    place(panel, entry.panels);
    entry.wide[four](t);
  }
  t.panel_stride = panel_bytes;
  t.column_stride = kIntPanelWidth;
  for (int64_t panel = begin + apart * entry.panels; panel < end; ++panel) {
    place(panel, 1);
    if (panel < full_end) {
      entry.single[four](t);
      continue;
    }
    // The last panel is wider than what is left: through a whole tile.
    const int64_t first = panel * kIntPanelWidth;
    const int64_t columns = p.out_features - first;
    alignas(64) float whole[12 * kIntPanelWidth];
    alignas(64) float bias[kIntPanelWidth] = {};
    if (t.bias != nullptr) {
      std::copy_n(t.bias, columns, bias);
      t.bias = bias;
    }
    t.c = whole;
    t.ldc = kIntPanelWidth;
    entry.single[four](t);
    for (int64_t m = 0; m < rows; ++m) {
      std::copy_n(whole + m * kIntPanelWidth, columns,
                  p.out + (first_row + m) * p.out_features + first);
    }
  }
}

void LinearIntTarget(const LinearIntParams& p, int64_t panel_begin, int64_t panel_end) {
  const int64_t tiles = (p.rows + p.tile_rows - 1) / p.tile_rows;
  if (tiles == 1) {
    RunIntTile(p, {0, 0, 1}, panel_begin, panel_end);
    return;
  }
  const int64_t tile_bytes = p.tile_rows * p.layout.in_features;
  const int64_t chunk_tiles = std::max<int64_t>(2, kChunkBytes / tile_bytes);
  const int64_t step = IntEntryFor(p.unit, p.tile_rows).panels;
  for (int64_t chunk = 0; chunk < tiles; chunk += chunk_tiles) {
    const int64_t turns = std::min(chunk_tiles, tiles - chunk);
    for (int64_t panel = panel_begin; panel < panel_end; panel += step) {
      for (int64_t turn = 0; turn < turns; ++turn) {
        RunIntTile(p, {chunk + turn, turn, turns}, panel, std::min(panel + step, panel_end));
      }
    }
  }
}

DotUnit BestDotUnitTarget() {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (__builtin_cpu_supports("avx512vnni")) return DotUnit::kVnni;
#endif
  return DotUnit::kWiden;
}

int64_t LinearIntMaxTileRowsTarget(DotUnit unit) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (unit == DotUnit::kVnni) return VnniUnit::kMaxRows;
#endif
  static_cast<void>(unit);
  return WidenUnit::kMaxRows;
}

template <class Unit>
double BurnUnit(int64_t iterations, int32_t* sink) {
  constexpr int kChains = 12;
  VI acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = hn::Set(DI(), c);
  auto w = Unit::FromWeights(hn::Set(DI(), 0x05070b0d));
  const auto q = Unit::FromRow(hn::Set(DI(), 0x01fe03fc));
  for (int64_t i = 0; i < iterations; ++i) {
    HWY_UNROLL(12)
    for (int c = 0; c < kChains; ++c) {
      Unit::Hide(w);
      acc[c] = Unit::Dot(acc[c], w, q);
    }
  }
  VI sum = acc[0];
  for (int c = 1; c < kChains; ++c) sum = hn::Add(sum, acc[c]);
  *sink = hn::GetLane(hn::SumOfLanes(DI(), sum));
  return 8.0 * kChains * kFloatLanes * static_cast<double>(iterations);
}

double BurnDotTarget(DotUnit unit, int64_t iterations, int32_t* sink) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (unit == DotUnit::kVnni) return BurnUnit<VnniUnit>(iterations, sink);
#endif
  static_cast<void>(unit);
  return BurnUnit<WidenUnit>(iterations, sink);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(LinearIntTarget);
HWY_EXPORT(BestDotUnitTarget);
HWY_EXPORT(LinearIntMaxTileRowsTarget);
HWY_EXPORT(BurnDotTarget);
}  // namespace

DotUnit BestDotUnit() { return HWY_DYNAMIC_DISPATCH(BestDotUnitTarget)(); }
const char* DotUnitName(DotUnit unit) { return unit == DotUnit::kVnni ? "VNNI" : "widening"; }

int64_t LinearIntMaxTileRows(DotUnit unit) {
  return HWY_DYNAMIC_DISPATCH(LinearIntMaxTileRowsTarget)(unit);
}

void LinearInt(const LinearIntParams& p, int64_t panel_begin, int64_t panel_end) {
  HWY_DYNAMIC_DISPATCH(LinearIntTarget)(p, panel_begin, panel_end);
}

double BurnDotProducts(DotUnit unit, int64_t iterations, int32_t* sink) {
  return HWY_DYNAMIC_DISPATCH(BurnDotTarget)(unit, iterations, sink);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
