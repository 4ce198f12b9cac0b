// out[m][n] = bias[n] + sum_k x[m][k] w[n][k]
//
// Layout: weights in panels, x in tiles of rows (cpu/linear.h), out row-major.
// Order: with one tile of rows, the whole of k per tile, weights streamed once.
// With more, k in blocks, so that a panel's block stays near while a chunk of rows
// passes by, and the chunk in L2 while a group of panels does. Multiply-adds take
// blocks of 512 (32 KiB of bf16, in L1). Pairs take 2048: they are so much faster
// that passing over out once more costs more than weights from L2 do (512 rows,
// 2048 x 11264: 68 ms in blocks of 512, 57 in blocks of 2048).
// Bound: weight bytes for few rows, multiply-adds (32 per cycle, in pairs 64) beyond.
#include "cpu/linear.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/transpose.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/linear_tile-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

static_assert(std::endian::native == std::endian::little, "bf16 pairs are read as words");

struct Blocking {
  int64_t inputs;
  int64_t tiles;   // of rows, of a chunk
  int64_t panels;  // of a group
};
constexpr Blocking kMultiplyAddBlocking = {512, 8, 8};
constexpr Blocking kPairBlocking = {2048, 4, 16};

constexpr int64_t ElementBytes(Element element) { return element == Element::kF32 ? 4 : 2; }

int64_t PanelBytes(Element element, int64_t in_features) {
  const int64_t inputs = element == Element::kBF16 ? RoundUp(in_features, 2) : in_features;
  return inputs * PanelWidth() * ElementBytes(element);
}

using TileFunction = void (*)(const TileArgs&);
struct TileEntry {
  TileFunction wide[kTileForms];    // TilePanels(rows) panels
  TileFunction single[kTileForms];  // one panel
};

template <int kRows>
constexpr TileEntry MakeEntry() {
  using enum TileForm;
  constexpr int kWide = TilePanels(kRows);
  return {{&Tile<kRows, kWide, kF32>, &Tile<kRows, kWide, kF16>, &Tile<kRows, kWide, kBF16>,
           &Tile<kRows, kWide, kPairs>},
          {&Tile<kRows, 1, kF32>, &Tile<kRows, 1, kF16>, &Tile<kRows, 1, kBF16>,
           &Tile<kRows, 1, kPairs>}};
}

const TileEntry& EntryFor(int64_t rows) {
  static constexpr TileEntry kEntries[] = {
    MakeEntry<1>(),
    MakeEntry<2>(),
    MakeEntry<3>(),
    MakeEntry<4>(),
    MakeEntry<5>(),
    MakeEntry<6>(),
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
    MakeEntry<7>(),
    MakeEntry<8>(),
    MakeEntry<9>(),
    MakeEntry<10>(),
    MakeEntry<11>(),
    MakeEntry<12>(),
#endif
  };
  static_assert(std::size(kEntries) == kMaxTileRows);
  return kEntries[rows - 1];
}

struct Span {
  int64_t begin;
  int64_t end;
};

// One tile of rows, inputs [k.begin, k.end), the given panels.
void RunTile(const LinearParams& p, int64_t tile, Span k, Span panels) {
  const int64_t width = PanelWidth();
  const int64_t first_row = tile * p.tile_rows;
  const int64_t rows = std::min(p.tile_rows, p.rows - first_row);
  const int64_t panel_bytes = PanelBytes(p.element, p.in_features);
  const auto form = static_cast<size_t>(p.pairs ? TileForm::kPairs : FormOf(p.element));
  const TileEntry& entry = EntryFor(rows);
  const int64_t wide = TilePanels(static_cast<int>(rows));
  const bool last = k.end == p.in_features;

  TileArgs t;
  // A pair is as large as a float.
  const int64_t row_words = p.pairs ? RoundUp(p.in_features, 2) / 2 : p.in_features;
  const int64_t skipped = p.pairs ? k.begin / 2 : k.begin;
  t.a = static_cast<const std::byte*>(p.packed) + (first_row * row_words + skipped * rows) * 4;
  t.panel_stride = panel_bytes;
  t.k = k.end - k.begin;
  t.accumulate = p.accumulate || k.begin > 0;
  for (int64_t panel = panels.begin; panel < panels.end;) {
    const int64_t first = panel * width;
    t.b = static_cast<const std::byte*>(p.weights) + panel * panel_bytes +
          k.begin * width * ElementBytes(p.element);
    t.bias = last && p.bias != nullptr ? p.bias + first : nullptr;
    t.c = p.out + first_row * p.out_features + first;
    t.ldc = p.out_features;
    if (panel + wide <= panels.end && first + wide * width <= p.out_features) {
      entry.wide[form](t);
      panel += wide;
      continue;
    }
    const int64_t columns = std::min(width, p.out_features - first);
    if (columns == width) {
      entry.single[form](t);
    } else {
      // The last panel is wider than what is left: through a whole tile.
      alignas(64) float whole[kMaxTileRows * 32];
      alignas(64) float bias[32] = {};
      for (int64_t m = 0; m < rows; ++m) {
        std::copy_n(t.c + m * t.ldc, t.accumulate ? columns : 0, whole + m * width);
        std::fill(whole + m * width + (t.accumulate ? columns : 0), whole + (m + 1) * width, 0.0F);
      }
      if (t.bias != nullptr) {
        std::copy_n(t.bias, columns, bias);
        t.bias = bias;
      }
      t.c = whole;
      t.ldc = width;
      entry.single[form](t);
      for (int64_t m = 0; m < rows; ++m) {
        std::copy_n(whole + m * width, columns, p.out + (first_row + m) * p.out_features + first);
      }
    }
    ++panel;
  }
}

void LinearTarget(const LinearParams& p, int64_t panel_begin, int64_t panel_end) {
  const int64_t tiles = (p.rows + p.tile_rows - 1) / p.tile_rows;
  if (tiles <= 1) {
    if (tiles == 1) RunTile(p, 0, {0, p.in_features}, {panel_begin, panel_end});
    return;
  }
  const Blocking& blocking = p.pairs ? kPairBlocking : kMultiplyAddBlocking;
  for (int64_t group = panel_begin; group < panel_end; group += blocking.panels) {
    const int64_t group_end = std::min(group + blocking.panels, panel_end);
    for (int64_t k = 0; k < p.in_features; k += blocking.inputs) {
      const Span k_span{k, std::min(k + blocking.inputs, p.in_features)};
      for (int64_t chunk = 0; chunk < tiles; chunk += blocking.tiles) {
        const int64_t chunk_end = std::min(chunk + blocking.tiles, tiles);
        for (int64_t panel = group; panel < group_end;) {
          // As many panels at a time as the smallest tile function takes.
          const int64_t step =
              std::min<int64_t>(TilePanels(static_cast<int>(p.tile_rows)), group_end - panel);
          for (int64_t tile = chunk; tile < chunk_end; ++tile) {
            RunTile(p, tile, k_span, {panel, panel + step});
          }
          panel += step;
        }
      }
    }
  }
}

double BurnPairsTarget(int64_t iterations, float* sink) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  constexpr int kChains = 24;
  VF acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = hn::Set(DF(), static_cast<float>(c));
  const VU a = hn::Set(DU(), 0x3f803f00u);
  const VU b = hn::Set(DU(), 0x3a80ba80u);
  for (int64_t i = 0; i < iterations; ++i) {
    HWY_UNROLL(24)
    for (int c = 0; c < kChains; ++c) acc[c] = DotPairs(acc[c], a, b);
  }
  VF sum = acc[0];
  for (int c = 1; c < kChains; ++c) sum = hn::Add(sum, acc[c]);
  *sink = Sum(sum);
  return 4.0 * kChains * static_cast<double>(LaneCount()) * static_cast<double>(iterations);
#else
  static_cast<void>(iterations);
  *sink = 0;
  return 0;
#endif
}

bool PairsRunTarget() {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

int64_t PanelWidthTarget() { return PanelWidth(); }
int64_t MaxTileRowsTarget() { return kMaxTileRows; }

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {

HWY_EXPORT(LinearTarget);
HWY_EXPORT(PanelWidthTarget);
HWY_EXPORT(MaxTileRowsTarget);
HWY_EXPORT(BurnPairsTarget);
HWY_EXPORT(PairsRunTarget);

}  // namespace

int64_t LinearPanelWidth() { return HWY_DYNAMIC_DISPATCH(PanelWidthTarget)(); }
bool PairProductsRun() { return HWY_DYNAMIC_DISPATCH(PairsRunTarget)(); }
double BurnPairProducts(int64_t iterations, float* sink) {
  return HWY_DYNAMIC_DISPATCH(BurnPairsTarget)(iterations, sink);
}
int64_t LinearMaxTileRows() { return HWY_DYNAMIC_DISPATCH(MaxTileRowsTarget)(); }

int64_t LinearPackedBytes(Element element, int64_t out_features, int64_t in_features) {
  const int64_t padded = RoundUp(out_features, LinearPanelWidth());
  if (element == Element::kF32) return padded * in_features * 4;
  return padded * 2 * (element == Element::kBF16 ? RoundUp(in_features, 2) : in_features);
}

void PackLinearPanel(Element element, const void* const* rows, int64_t count, int64_t in_features,
                     void* panel) {
  const int64_t width = LinearPanelWidth();
  if (count < width || in_features % 2 != 0) {
    std::memset(panel, 0, static_cast<size_t>(LinearPackedBytes(element, width, in_features)));
  }
  if (element == Element::kF16) {
    TransposeHalfWords(rows, count, 0, in_features, width, panel);
    return;
  }
  // A float, or two values of bf16, are a word.
  const int64_t words = element == Element::kF32 ? in_features : in_features / 2;
  TransposeWords(WordChange::kNone, rows, count, 0, words, width, panel);
  if (element == Element::kF32 || in_features % 2 == 0) return;
  auto* last = static_cast<std::byte*>(panel) + words * width * 4;
  for (int64_t j = 0; j < count; ++j) {
    std::memcpy(last + j * 4, static_cast<const std::byte*>(rows[j]) + words * 4, 2);
  }
}

void UnpackLinearRow(Element element, const void* panel, int64_t column, int64_t first,
                     int64_t count, void* row) {
  const int64_t width = LinearPanelWidth();
  if (element == Element::kF16) {
    const uint16_t* from = static_cast<const uint16_t*>(panel) + first * width + column;
    auto* to = static_cast<uint16_t*>(row);
    for (int64_t k = 0; k < count; ++k) to[k] = from[k * width];
    return;
  }
  // A float, or two values of bf16, at a time.
  const int64_t values = element == Element::kBF16 ? 2 : 1;
  const uint32_t* from = static_cast<const uint32_t*>(panel) + first / values * width + column;
  auto* to = static_cast<std::byte*>(row);
  const int64_t words = count / values;
  for (int64_t k = 0; k < words; ++k) std::memcpy(to + k * 4, from + k * width, 4);
  if (words * values < count) std::memcpy(to + words * 4, from + words * width, 2);
}

void PackRows(const PackRowsParams& p, int64_t tile_begin, int64_t tile_end) {
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t first = tile * p.tile_rows;
    const int64_t rows = std::min(p.tile_rows, p.rows - first);
    float* to = p.packed + first * p.in_features;
    const float* from = p.x + first * p.in_features;
    for (int64_t k = 0; k < p.in_features; ++k) {
      for (int64_t m = 0; m < rows; ++m) *to++ = from[m * p.in_features + k];
    }
  }
}

void Linear(const LinearParams& p, int64_t panel_begin, int64_t panel_end) {
  HWY_DYNAMIC_DISPATCH(LinearTarget)(p, panel_begin, panel_end);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
