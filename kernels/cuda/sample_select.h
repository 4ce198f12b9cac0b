// The smallest key of a prefix of a row's tokens in rank order: the first k of them, or
// as many as hold a share of the weight. Radix selection from the top, 11, 11 and 10
// bits of the logit's key, then of the id where logits are equal; a pass counts in
// shared memory what begins with the bits found so far.
#pragma once

#include <type_traits>

#include "cuda/sample_row.h"

namespace inferd::cuda {

inline constexpr int kSelectBins = 2048;
inline constexpr int kBinsPerThread = kSelectBins / kSampleThreads;

// The weight of a token where tokens are counted.
struct OneEach {
  SIMT_DEVICE uint64_t operator()(float) const { return 1; }
};

struct Selection {
  // Of the bins' weights: shared memory adds no 64-bit integers at once.
  Array<uint32_t, kSelectBins> low;
  Array<uint32_t, kSelectBins> high;
  Array<uint32_t, kSelectBins> counts;
  Array<uint64_t, kSampleWarps> sums;
  uint64_t before;  // weight of the bins above
  uint32_t bin;     // kSelectBins: none
};

SIMT_DEVICE void AddWeight(Selection& s, int bin, uint64_t weight) {
  const auto low = static_cast<uint32_t>(weight);
  const uint32_t before = AtomicAdd(&s.low[bin], low);
  // Whoever passes 2^32 carries; all carries are there after the next barrier.
  const uint32_t high = static_cast<uint32_t>(weight >> 32) + (before + low < before ? 1 : 0);
  if (high != 0) AtomicAdd(&s.high[bin], high);
}
template <class Weight>
SIMT_DEVICE uint64_t WeightOf(const Selection& s, int bin) {
  if constexpr (std::is_same_v<Weight, OneEach>) {
    return s.counts[bin];
  } else {
    return uint64_t{s.high[bin]} << 32 | s.low[bin];
  }
}

// The weight of all bins; those of the thread, highest first, end at `up_to`.
SIMT_DEVICE uint64_t SumBins(Selection& s, uint64_t own, uint64_t& up_to) {
  up_to = own;
  for (unsigned n = 1; n < kWarpSize; n *= 2) {
    const uint64_t other = ShflUp(up_to, n);
    if (Lane() >= n) up_to += other;
  }
  if (Lane() == kWarpSize - 1) s.sums[static_cast<int>(Warp())] = up_to;
  SyncThreads();
  uint64_t total = 0;
  for (int w = 0; w < kSampleWarps; ++w) {
    if (w < static_cast<int>(Warp())) up_to += s.sums[w];
    total += s.sums[w];
  }
  return total;
}

// Among keys of at least `floor`. weight(logit): an integer; target(total weight): how
// much the prefix must hold, at least 1. All threads of the block call it and get the
// result: `floor` where there is less in all.
template <class Weight, class Target>
SIMT_DEVICE uint64_t SelectKey(const float* row, int32_t n, uint64_t floor, Selection& s,
                               Weight weight, Target target) {
  uint64_t prefix = 0;
  uint64_t before = 0;
  uint64_t wanted = 0;
  int shift = 64;
  for (int level = 0; level < 6; ++level) {
    const int bits = level % 3 == 2 ? 10 : 11;
    const int prefix_shift = shift;
    shift -= bits;
    for (int b = static_cast<int>(ThreadX()); b < kSelectBins; b += kSampleThreads) {
      s.low[b] = s.high[b] = s.counts[b] = 0;
    }
    if (ThreadX() == 0) s.bin = kSelectBins;
    SyncThreads();
    ForLogits(row, 0, n, [&](int32_t id, const float(&v)[4], int32_t count) {
      SIMT_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (j >= count) continue;
        const uint64_t key = KeyOf(v[j], id + j);
        if (key < floor || (level > 0 && key >> prefix_shift != prefix)) continue;
        const auto bin = static_cast<int>(key >> shift & ((1U << bits) - 1));
        AtomicAdd(&s.counts[bin], 1);
        if constexpr (!std::is_same_v<Weight, OneEach>) AddWeight(s, bin, weight(v[j]));
      }
    });
    SyncThreads();
    const int first = kSelectBins - kBinsPerThread * (static_cast<int>(ThreadX()) + 1);
    uint64_t own = 0;
    for (int b = 0; b < kBinsPerThread; ++b) own += WeightOf<Weight>(s, first + b);
    uint64_t up_to;
    const uint64_t total = SumBins(s, own, up_to);
    if (level == 0) wanted = target(total);
    up_to += before;
    if (up_to >= wanted && up_to - own < wanted) {
      uint64_t above = up_to - own;
      int bin = first + kBinsPerThread - 1;
      while (above + WeightOf<Weight>(s, bin) < wanted) above += WeightOf<Weight>(s, bin--);
      s.before = above;
      s.bin = static_cast<uint32_t>(bin);
    }
    SyncThreads();
    const uint32_t bin = s.bin;
    before = s.before;
    // Nothing to divide: one token, or all of them are needed.
    const bool whole =
        bin < kSelectBins && (s.counts[static_cast<int>(bin)] == 1 ||
                              before + WeightOf<Weight>(s, static_cast<int>(bin)) == wanted);
    SyncThreads();  // before the bins are cleared
    if (bin == kSelectBins) return floor;
    prefix = prefix << bits | bin;
    if (whole) break;
  }
  const uint64_t least = prefix << shift;
  return least > floor ? least : floor;
}

}  // namespace inferd::cuda
