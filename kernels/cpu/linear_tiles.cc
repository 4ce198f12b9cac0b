// out[m][n] = bias[n] + sum_k x[m][k] w[n][k], bf16 by bf16 in tiles
//
// Layout: weights in panels (cpu/linear.h), of which 16 pairs of inputs by 16 outputs
// are a tile; x in tiles of 16 rows by 32 inputs (cpu/linear_bf16.h); out row-major.
// Order: 2 by 2 tiles of out at a time, four chains that hide the latency of
// TDPBF16PS. Up to 32 rows go through the whole of k, weights streamed once. With
// more, k in blocks of 512, so that the 32 KiB of weights of two tiles' outputs stay
// in L1 while the rows pass by, and 16 such tiles and the rows' block in L2.
// Per output the sums of 32 inputs each are added in the order of k, whatever the
// number of rows.
// Bound: weight bytes for few rows, tile products (1024 multiply-adds per cycle)
// beyond. Written for hardware that its author did not have: in the tests the emulated
// unit stands for it, and its machine code is interpreted (tests/kernels/cpu); no speed
// was measured.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>

#include "cpu/linear_bf16.h"
#include "cpu/tile_square.h"

namespace inferd::kernels {
namespace {

constexpr int64_t kRows = kAmxTileRows;
constexpr int64_t kColumns = 16;
constexpr int64_t kInputs = 32;
constexpr int64_t kPairs = kInputs / 2;
constexpr int64_t kRowBytes = 64;    // of any tile
constexpr int64_t kBlockTiles = 16;  // of inputs: 512
constexpr int64_t kGroupTiles = 16;  // of columns: 256
constexpr int64_t kPrefetchBytes = 4096;

struct MacroArgs {
  const std::byte* a[2];  // of each row tile, at the first input
  int64_t a_tile_bytes[2];
  const std::byte* b[2];  // of each column tile
  int64_t b_stride;       // bytes from pair to pair
  int64_t k_tiles;        // whole ones
  int64_t rest_pairs;     // of weights after them
  bool accumulate;        // start from c, else from 0
  bool prefetch;          // the weights come from memory
  float* c;
  int64_t ldc;
};

template <class Unit, int kRowTiles, int kColumnTiles>
void Macro(Unit& unit, const MacroArgs& t) {
  using Square = TileSquare<Unit, kRowTiles, kColumnTiles>;
  if (t.accumulate) {
    Square::Load(unit, t.c, t.ldc * 4);
  } else {
    Square::Zero(unit);
  }
  const std::byte* a0 = t.a[0];
  const std::byte* a1 = t.a[1];
  const std::byte* b0 = t.b[0];
  const std::byte* b1 = t.b[1];
  for (int64_t k = 0; k < t.k_tiles; ++k) {
    if (t.prefetch) {
      for (int64_t pair = 0; pair < kPairs; ++pair) {
        __builtin_prefetch(b0 + kPrefetchBytes + pair * t.b_stride);
        if constexpr (kColumnTiles == 2) {
          __builtin_prefetch(b1 + kPrefetchBytes + pair * t.b_stride);
        }
      }
    }
    Square::template Multiply<DotsOfBF16>(unit, a0, a1, b0, b1, t.b_stride);
    a0 += t.a_tile_bytes[0];
    if constexpr (kRowTiles == 2) a1 += t.a_tile_bytes[1];
    b0 += kPairs * t.b_stride;
    if constexpr (kColumnTiles == 2) b1 += kPairs * t.b_stride;
  }
  if (t.rest_pairs > 0) {
    // The weights end within a tile: complete it with zeros.
    alignas(64) std::byte rest[2][kPairs][kRowBytes] = {};
    for (int64_t pair = 0; pair < t.rest_pairs; ++pair) {
      std::memcpy(rest[0][pair], b0 + pair * t.b_stride, kRowBytes);
      if constexpr (kColumnTiles == 2) {
        std::memcpy(rest[1][pair], b1 + pair * t.b_stride, kRowBytes);
      }
    }
    Square::template Multiply<DotsOfBF16>(unit, a0, a1, rest[0][0], rest[1][0], kRowBytes);
  }
  Square::Store(unit, t.c, t.ldc * 4);
}

struct Span {
  int64_t begin;
  int64_t end;
};

template <class Unit>
class TileProduct {
 public:
  explicit TileProduct(const LinearParams& p)
      : p_(p),
        width_(LinearPanelWidth()),
        panel_bytes_(RoundUp(p.in_features, 2) * width_ * 2),
        k_tiles_((p.in_features + kInputs - 1) / kInputs),
        row_tiles_((p.rows + kRows - 1) / kRows) {}

  void Run(int64_t panel_begin, int64_t panel_end) {
    const Span all{panel_begin * width_ / kColumns,
                   (std::min(panel_end * width_, p_.out_features) + kColumns - 1) / kColumns};
    const bool once = row_tiles_ <= 2;
    const int64_t block = once ? k_tiles_ : kBlockTiles;
    const int64_t group = once ? all.end - all.begin : kGroupTiles;
    for (int64_t first = all.begin; first < all.end; first += group) {
      const int64_t last = std::min(first + group, all.end);
      for (int64_t k = 0; k < k_tiles_; k += block) {
        const Span inputs{k, std::min(k + block, k_tiles_)};
        for (int64_t column = first; column < last; column += 2) {
          for (int64_t row = 0; row < row_tiles_; row += 2) {
            RunMacro(row, {column, std::min(column + 2, last)}, inputs);
          }
        }
      }
    }
    unit_.Release();
  }

 private:
  void RunMacro(int64_t row_tile, Span columns, Span inputs) {
    const int64_t first_row = row_tile * kRows;
    const int64_t rows[2] = {std::min(kRows, p_.rows - first_row),
                             std::clamp(p_.rows - first_row - kRows, int64_t{0}, kRows)};
    if (rows[0] != rows_[0] || rows[1] != rows_[1]) {
      unit_.Configure(SquareConfig(rows[0], rows[1]));
      rows_[0] = rows[0];
      rows_[1] = rows[1];
    }
    MacroArgs t;
    for (int i = 0; i < 2; ++i) {
      t.a_tile_bytes[i] = rows[i] * kRowBytes;
      t.a[i] = static_cast<const std::byte*>(p_.packed) +
               (first_row + i * kRows) * k_tiles_ * kRowBytes + inputs.begin * t.a_tile_bytes[i];
      // Without a second tile of columns its pointer is not used.
      const int64_t column = std::min(columns.begin + i, columns.end - 1) * kColumns;
      t.b[i] = static_cast<const std::byte*>(p_.weights) + column / width_ * panel_bytes_ +
               column % width_ * 4 + inputs.begin * kPairs * width_ * 4;
    }
    const bool last = inputs.end == k_tiles_;
    t.b_stride = width_ * 4;
    t.rest_pairs = last ? (p_.in_features % kInputs + 1) / 2 : 0;
    t.k_tiles = inputs.end - inputs.begin - (t.rest_pairs > 0 ? 1 : 0);
    t.accumulate = p_.accumulate || inputs.begin > 0;
    t.prefetch = row_tiles_ == 1;

    const int64_t first = columns.begin * kColumns;
    const int64_t count = std::min(columns.end * kColumns, p_.out_features) - first;
    float* out = p_.out + first_row * p_.out_features + first;
    const int64_t total_rows = rows[0] + rows[1];
    const bool two = columns.end - columns.begin == 2;
    if (count == (two ? 2 : 1) * kColumns) {
      t.c = out;
      t.ldc = p_.out_features;
      RunMacroOf(t, rows[1] > 0, two);
    } else {
      // The last tile is wider than what is left: through whole tiles.
      alignas(64) float whole[2 * kRows][2 * kColumns] = {};
      t.c = whole[0];
      t.ldc = 2 * kColumns;
      for (int64_t m = 0; m < total_rows && t.accumulate; ++m) {
        std::copy_n(out + m * p_.out_features, count, whole[m]);
      }
      RunMacroOf(t, rows[1] > 0, two);
      for (int64_t m = 0; m < total_rows; ++m) {
        std::copy_n(whole[m], count, out + m * p_.out_features);
      }
    }
    if (!last || p_.bias == nullptr) return;
    for (int64_t m = 0; m < total_rows; ++m) {
      for (int64_t n = 0; n < count; ++n) out[m * p_.out_features + n] += p_.bias[first + n];
    }
  }

  void RunMacroOf(const MacroArgs& t, bool two_rows, bool two_columns) {
    if (two_rows) {
      two_columns ? Macro<Unit, 2, 2>(unit_, t) : Macro<Unit, 2, 1>(unit_, t);
    } else {
      two_columns ? Macro<Unit, 1, 2>(unit_, t) : Macro<Unit, 1, 1>(unit_, t);
    }
  }

  const LinearParams& p_;
  const int64_t width_;
  const int64_t panel_bytes_;
  const int64_t k_tiles_;
  const int64_t row_tiles_;
  int64_t rows_[2] = {0, 0};  // configured
  Unit unit_;
};

// A small product with every kind of edge, by the processor and by the emulation.
bool AmxAgrees() {
  constexpr int64_t kM = 35;
  constexpr int64_t kN = 41;
  constexpr int64_t kK = 1061;  // several blocks, the last of an odd number
  constexpr int64_t kRoundedK = (kK + kInputs - 1) / kInputs * kInputs;
  uint32_t state = 12345;
  const auto next = [&state] {
    // A bf16 of either sign between 2^-8 and 2^8.
    state = state * 1664525U + 1013904223U;
    const uint32_t bits = state >> 8;
    return static_cast<uint16_t>((bits & 0x8000U) | (119U + (bits >> 16) % 16U) << 7 |
                                 (bits & 0x7fU));
  };
  struct Memory {
    alignas(64) uint16_t x[kM * kRoundedK];
    alignas(64) uint16_t weights[64 * (kK + 1)];
    float bias[kN];
    float out[2][kM * kN];
  };
  const auto memory = std::make_unique<Memory>();
  for (uint16_t& value : memory->x) value = next();
  for (uint16_t& value : memory->weights) value = next();
  for (float& value : memory->bias) value = 1.0F / static_cast<float>(3 + next());
  // Past the inputs there are zeros.
  const int64_t width = LinearPanelWidth();
  const int64_t panels = (kN + width - 1) / width;
  for (int64_t n = 0; n < panels * width; ++n) {
    memory->weights[n / width * (kK + 1) * width + (kK / 2 * width + n % width) * 2 + 1] = 0;
  }
  for (int i = 0; i < 2; ++i) {
    const LinearParams p{Element::kBF16, memory->weights, kN, kK, memory->bias, memory->x, kM,
                         kRows,          memory->out[i]};
    LinearTiles(p, /*emulated=*/i == 1, 0, panels);
  }
  return std::equal(
      std::begin(memory->out[0]), std::end(memory->out[0]), memory->out[1],
      [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); });
}

}  // namespace

void LinearTiles(const LinearParams& p, bool emulated, int64_t panel_begin, int64_t panel_end) {
#if defined(__x86_64__)
  if (!emulated) {
    TileProduct<AmxTiles>(p).Run(panel_begin, panel_end);
    return;
  }
#endif
  static_cast<void>(emulated);
  TileProduct<EmulatedTiles>(p).Run(panel_begin, panel_end);
}

bool Bf16UnitRuns(Bf16Unit unit) {
  switch (unit) {
    case Bf16Unit::kPairs:
      return PairProductsRun();
    case Bf16Unit::kTiles:
      return AmxBf16Runs() && AmxAgrees();
    case Bf16Unit::kWiden:
    case Bf16Unit::kEmulatedTiles:
      break;
  }
  return true;
}

Bf16Unit BestBf16Unit(bool tiles) {
  if (tiles && Bf16UnitRuns(Bf16Unit::kTiles)) return Bf16Unit::kTiles;
#if defined(__x86_64__)
  // Twice the rate of f32 on Zen 4 and 5, half of it on Intel's.
  if (__builtin_cpu_is("amd") && Bf16UnitRuns(Bf16Unit::kPairs)) return Bf16Unit::kPairs;
#endif
  return Bf16Unit::kWiden;
}

double BurnTileProducts(int64_t iterations, float* sink) {
  *sink = 0;
#if defined(__x86_64__)
  AmxTiles unit;
  unit.Configure(SquareConfig(kRows, kRows));
  unit.Zero<4>();
  unit.Zero<5>();
  unit.Zero<6>();
  unit.Zero<7>();
  for (int64_t i = 0; i < iterations; ++i) {
    unit.DotBF16<0, 4, 6>();
    unit.DotBF16<1, 4, 7>();
    unit.DotBF16<2, 5, 6>();
    unit.DotBF16<3, 5, 7>();
  }
  unit.Release();
  return 4.0 * 2.0 * kRows * kColumns * kInputs * static_cast<double>(iterations);
#else
  static_cast<void>(iterations);
  return 0;
#endif
}

}  // namespace inferd::kernels
