// Two tiles of rows by two tiles of columns at a time: four chains of products, which hide the
// latency of one. Tiles 0 to 3 are the sums [row tile][column tile], 4 and 5 the rows', 6 and 7
// the columns'; a square may lack the second of either.
#pragma once

#include <cstdint>

#include "cpu/tile_unit.h"

namespace inferd::kernels {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileRowBytes = 64;

// Of row tiles with so many rows, 0 for none. The columns' tiles are whole.
inline TileConfig SquareConfig(int64_t rows0, int64_t rows1) {
  TileConfig config;
  const int64_t rows[8] = {rows0, rows0, rows1, rows1, rows0, rows1, kTileRows, kTileRows};
  for (int t = 0; t < 8; ++t) {
    config.rows[t] = static_cast<uint8_t>(rows[t]);
    config.row_bytes[t] = rows[t] > 0 ? kTileRowBytes : 0;
  }
  return config;
}

// Products: which of a unit's.
struct DotsOfBF16 {
  template <int kC, int kA, int kB, class Unit>
  static void Add(Unit& unit) {
    unit.template DotBF16<kC, kA, kB>();
  }
};
struct DotsOfS8U8 {
  template <int kC, int kA, int kB, class Unit>
  static void Add(Unit& unit) {
    unit.template DotS8U8<kC, kA, kB>();
  }
};
struct DotsOfS8S8 {
  template <int kC, int kA, int kB, class Unit>
  static void Add(Unit& unit) {
    unit.template DotS8S8<kC, kA, kB>();
  }
};

template <class Unit, int kRowTiles, int kColumnTiles>
struct TileSquare {
  static void Zero(Unit& unit) {
    unit.template Zero<0>();
    if constexpr (kColumnTiles == 2) unit.template Zero<1>();
    if constexpr (kRowTiles == 2) unit.template Zero<2>();
    if constexpr (kRowTiles * kColumnTiles == 4) unit.template Zero<3>();
  }

  // Sums at `c`, rows `stride` bytes apart.
  static void Load(Unit& unit, const void* c, int64_t stride) {
    const char* from = static_cast<const char*>(c);
    unit.template Load<0>(from, stride);
    if constexpr (kColumnTiles == 2) unit.template Load<1>(from + kTileRowBytes, stride);
    from += kTileRows * stride;
    if constexpr (kRowTiles == 2) unit.template Load<2>(from, stride);
    if constexpr (kRowTiles * kColumnTiles == 4) {
      unit.template Load<3>(from + kTileRowBytes, stride);
    }
  }
  static void Store(Unit& unit, void* c, int64_t stride) {
    char* to = static_cast<char*>(c);
    unit.template Store<0>(to, stride);
    if constexpr (kColumnTiles == 2) unit.template Store<1>(to + kTileRowBytes, stride);
    to += kTileRows * stride;
    if constexpr (kRowTiles == 2) unit.template Store<2>(to, stride);
    if constexpr (kRowTiles * kColumnTiles == 4) unit.template Store<3>(to + kTileRowBytes, stride);
  }

  // The sums += a tile of each row tile times one of each column tile. Rows of a column's
  // tile are `b_stride` bytes apart. What the square lacks is not read.
  template <class Dots>
  static void Multiply(Unit& unit, const void* a0, const void* a1, const void* b0, const void* b1,
                       int64_t b_stride) {
    unit.template Load<6>(b0, b_stride);
    if constexpr (kColumnTiles == 2) unit.template Load<7>(b1, b_stride);
    unit.template Load<4>(a0, kTileRowBytes);
    Dots::template Add<0, 4, 6>(unit);
    if constexpr (kColumnTiles == 2) Dots::template Add<1, 4, 7>(unit);
    if constexpr (kRowTiles == 2) {
      unit.template Load<5>(a1, kTileRowBytes);
      Dots::template Add<2, 5, 6>(unit);
      if constexpr (kColumnTiles == 2) Dots::template Add<3, 5, 7>(unit);
    }
  }
};

}  // namespace inferd::kernels
