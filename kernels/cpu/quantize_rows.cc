// q[k] = nearest-even(x[k] * (127 / max|x|)), row by row or group by group.
//
// Layout: x row-major, q in tiles of rows with four inputs side by side, the
// order in which a product with integer weights reads them.
// Bound: two passes over x in cache; some hundred nanoseconds per thousand inputs.
#include "cpu/quantize_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/common.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/quantize_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/magnitude-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// Where the quads of a group go, `first` the group's first: `together` (a power of two) side by
// side, and as many again `stride` bytes further.
struct QuadPlaces {
  int8_t* q;
  int64_t stride;
  int64_t shift;  // of `together`
  int64_t first;

  HWY_INLINE int8_t* at(int64_t of_group) const {
    const int64_t quad = first + of_group;
    return q + (quad >> shift) * stride + (quad & ((int64_t{1} << shift) - 1)) * 4;
  }
};

// Rounds n inputs into their places; returns the sum of q.
int32_t RoundGroup(const float* x, int64_t n, float inverse, const QuadPlaces& places) {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
  const DI di;
  const hn::Rebind<int8_t, DF> db;
  const VF factor = hn::Set(DF(), inverse);
  auto sum = hn::Zero(di);
  alignas(16) int8_t bytes[16];
  const auto round = [&](VF values) HWY_ATTR {
    const auto rounded = hn::NearestInt(hn::Mul(values, factor));
    sum = hn::Add(sum, rounded);
    hn::StoreU(hn::DemoteTo(db, rounded), db, bytes);
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    round(hn::LoadU(DF(), x + i));
    HWY_UNROLL(4)
    for (int k = 0; k < kLanes; k += 4) {
      std::memcpy(places.at((i + k) / 4), bytes + k, 4);
    }
  }
  if (i < n) {
    round(LoadPartial(x + i, static_cast<size_t>(n - i)));
    for (int64_t k = 0; k < n - i; k += 4) {
      std::memcpy(places.at((i + k) / 4), bytes + k, 4);
    }
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void QuantizeRowsTarget(const QuantizeRowsParams& p, int64_t row_begin, int64_t row_end) {
  const int64_t groups = p.in_features / p.group_size;
  const int64_t padded = QuantizedRowBytes(p.in_features, p.wide);
  constexpr int64_t kWideShift = 4;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t tile_first = row / p.tile_rows * p.tile_rows;
    const int64_t height = std::min(p.tile_rows, p.rows - tile_first);
    const int64_t place = row - tile_first;
    int8_t* q = p.q + tile_first * padded + place * (p.wide ? 64 : 4);
    RowScale* scales = p.scales + tile_first * groups + place;
    for (int64_t g = 0; g < groups; ++g) {
      const float* x = p.x + row * p.in_features + g * p.group_size;
      const uint32_t bits = MaxMagnitude(x, p.group_size);
      const bool finite = bits < 0x7f800000u;
      const float max = finite ? std::bit_cast<float>(bits) : 0.0F;
      const float inverse = max > 0 ? 127.0F / max : kInfinity;
      const bool vanishes = inverse == kInfinity;
      const int64_t first = g * p.group_size / 4;
      const QuadPlaces places = p.wide ? QuadPlaces{q, height * 64, kWideShift, first}
                                       : QuadPlaces{q, height * 4, 0, first};
      int32_t sum = 0;
      if (finite) {
        sum = RoundGroup(x, p.group_size, vanishes ? 0.0F : inverse, places);
      } else {
        for (int64_t k = 0; k < p.group_size; k += 4) std::memset(places.at(k / 4), 0, 4);
      }
      for (int64_t k = RoundUp(p.group_size, 4);
           p.wide && g + 1 == groups && 4 * first + k < padded; k += 4) {
        std::memset(places.at(k / 4), 0, 4);
      }
      scales[g * height] = {!finite    ? std::numeric_limits<float>::quiet_NaN()
                            : vanishes ? 0.0F
                                       : max / 127.0F,
                            -p.zero * sum};
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(QuantizeRowsTarget);
}  // namespace

int64_t QuantizedRowBytes(int64_t in_features, bool wide) {
  return RoundUp(in_features, wide ? 64 : 4);
}

void QuantizeRows(const QuantizeRowsParams& p, int64_t row_begin, int64_t row_end) {
  HWY_DYNAMIC_DISPATCH(QuantizeRowsTarget)(p, row_begin, row_end);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
