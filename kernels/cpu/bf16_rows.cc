// Rows of x as bf16, in the order in which each unit reads them.
//
// Bound: one pass over x; the transposition is one word at a time.
#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/linear_bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/bf16_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr int64_t kTileInputs = 32;
constexpr int64_t kPiece = 128;  // inputs rounded at a time; whole tiles

// to[0 .. RoundUp(n, 32)) = x[0 .. n) rounded, then zeros.
void RoundPiece(const float* x, int64_t n, uint16_t* to) {
  const auto lanes = static_cast<int64_t>(LaneCount());
  int64_t k = 0;
  for (; k + lanes <= n; k += lanes) StoreFloats(hn::LoadU(DF(), x + k), to + k);
  if (k < n) {
    StoreFloats(LoadPartial(x + k, static_cast<size_t>(n - k)), to + k);
    k += lanes;
  }
  for (; k < RoundUp(n, kTileInputs); ++k) to[k] = 0;
}

// Row m of a tile of `rows`, inputs [k, k + n), which stand rounded in `piece`.
void PlacePiece(Bf16Unit unit, const uint16_t* piece, int64_t rows, int64_t m, int64_t k, int64_t n,
                void* tile) {
  switch (unit) {
    case Bf16Unit::kWiden: {
      auto* to = static_cast<uint32_t*>(tile) + k * rows + m;
      for (int64_t i = 0; i < n; ++i) to[i * rows] = uint32_t{piece[i]} << 16;
      break;
    }
    case Bf16Unit::kPairs: {
      auto* to = static_cast<uint32_t*>(tile) + k / 2 * rows + m;
      for (int64_t i = 0; i < n; i += 2) {
        uint32_t pair = 0;
        std::memcpy(&pair, piece + i, sizeof(pair));
        to[i / 2 * rows] = pair;
      }
      break;
    }
    case Bf16Unit::kTiles:
    case Bf16Unit::kEmulatedTiles: {
      auto* to = static_cast<uint16_t*>(tile) + k * rows + m * kTileInputs;
      for (int64_t i = 0; i < n; i += kTileInputs) {
        std::memcpy(to + i * rows, piece + i, kTileInputs * sizeof(uint16_t));
      }
      break;
    }
  }
}

void PackBf16RowsTarget(const PackBf16RowsParams& p, int64_t tile_begin, int64_t tile_end) {
  const int64_t row_bytes = PackedBf16RowBytes(p.unit, p.in_features);
  alignas(64) uint16_t piece[kPiece];
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t first = tile * p.tile_rows;
    const int64_t left = p.rows - first;
    const int64_t rows = left < p.tile_rows ? left : p.tile_rows;
    auto* to = static_cast<std::byte*>(p.packed) + first * row_bytes;
    for (int64_t k = 0; k < p.in_features; k += kPiece) {
      const int64_t n = p.in_features - k < kPiece ? p.in_features - k : kPiece;
      for (int64_t m = 0; m < rows; ++m) {
        RoundPiece(p.x + (first + m) * p.in_features + k, n, piece);
        PlacePiece(p.unit, piece, rows, m, k, n, to);
      }
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(PackBf16RowsTarget);
}  // namespace

const char* Bf16UnitName(Bf16Unit unit) {
  switch (unit) {
    case Bf16Unit::kWiden:
      return "f32 multiply-adds";
    case Bf16Unit::kPairs:
      return "VDPBF16PS";
    case Bf16Unit::kTiles:
      return "AMX";
    case Bf16Unit::kEmulatedTiles:
      return "emulated AMX";
  }
  return "";
}

int64_t PackedBf16RowBytes(Bf16Unit unit, int64_t in_features) {
  if (unit == Bf16Unit::kWiden) return in_features * 4;
  if (unit == Bf16Unit::kPairs) return RoundUp(in_features, 2) * 2;
  return RoundUp(in_features, 32) * 2;
}

void PackBf16Rows(const PackBf16RowsParams& p, int64_t tile_begin, int64_t tile_end) {
  HWY_DYNAMIC_DISPATCH(PackBf16RowsTarget)(p, tile_begin, tile_end);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
