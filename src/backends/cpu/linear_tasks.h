// What the linear layers of the CPU backend share: how rows are cut into tiles and products
// shared out.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/thread_pool.h"

namespace inferd {

// Rows of a tile where one holds `most` and there are `rows` >= 1: tiles are of equal
// height (16 rows are 8 + 8, not 12 + 4), unless they are what they are (`fixed`).
inline int64_t TileRows(int64_t rows, int64_t most, bool fixed) {
  if (fixed) return most;
  const int64_t tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

// body(begin, end, thread) over `tasks` items that make up `products` together.
template <class Body>
void ShareProducts(ThreadPool& pool, int64_t tasks, int64_t products, const Body& body) {
  // A hand-over, or the claim of another range, is not worth less than this many.
  constexpr int64_t kWorthSharing = 65536;
  if (products < kWorthSharing) {
    body(int64_t{0}, tasks, 0);
    return;
  }
  pool.ParallelFor(tasks, std::max<int64_t>(1, kWorthSharing * tasks / products), body);
}

}  // namespace inferd
