// Order: a cache line of each row at a time, because rows are often a multiple of 4 KiB
// apart and then share the few places of a cache set; in it squares of 4 by 4 words or 8 by
// 8 half words, in registers, by interleaving units of growing size. What is left of rows
// and columns goes unit by unit.
// Bound: memory, as one instruction a word or less suffices.
#include "cpu/transpose.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/transpose.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

using D32 = hn::Full128<uint32_t>;
using D16 = hn::Full128<uint16_t>;
using V32 = hn::Vec<D32>;
using V16 = hn::Vec<D16>;

constexpr int64_t kLineBytes = 64;

// Four half-bytes of a word's low half, one a byte.
HWY_INLINE V32 Spread(V32 v) {
  const D32 d;
  v = hn::And(hn::Or(v, hn::ShiftLeft<8>(v)), hn::Set(d, 0x00ff00ff));
  return hn::And(hn::Or(v, hn::ShiftLeft<4>(v)), hn::Set(d, 0x0f0f0f0f));
}

template <WordChange kChange>
HWY_INLINE V32 Changed(V32 v) {
  [[maybe_unused]] const D32 d;
  if constexpr (kChange == WordChange::kFlipSigns) return hn::Xor(v, hn::Set(d, 0x80808080));
  if constexpr (kChange == WordChange::kSpreadHalfBytes) {
    return hn::Or(Spread(hn::And(v, hn::Set(d, 0xffff))),
                  hn::ShiftLeft<4>(Spread(hn::ShiftRight<16>(v))));
  }
  return v;
}

template <WordChange kChange>
HWY_INLINE V32 LoadWords(const void* row, int64_t at) {
  const D32 d;
  const hn::Repartition<uint8_t, D32> bytes;
  return Changed<kChange>(hn::BitCast(d, hn::LoadU(bytes, static_cast<const uint8_t*>(row) + at)));
}

template <class V>
HWY_INLINE void StoreUnits(V v, uint8_t* to) {
  const hn::Repartition<uint8_t, hn::DFromV<V>> bytes;
  hn::StoreU(hn::BitCast(bytes, v), bytes, to);
}

// The lower and the upper halves of two vectors, in units of U, taken in turn.
template <typename U, class V>
HWY_INLINE V Lower(V a, V b) {
  const hn::Repartition<U, hn::DFromV<V>> d;
  return hn::BitCast(hn::DFromV<V>(), hn::InterleaveLower(d, hn::BitCast(d, a), hn::BitCast(d, b)));
}
template <typename U, class V>
HWY_INLINE V Upper(V a, V b) {
  const hn::Repartition<U, hn::DFromV<V>> d;
  return hn::BitCast(hn::DFromV<V>(), hn::InterleaveUpper(d, hn::BitCast(d, a), hn::BitCast(d, b)));
}

// Four words of each of four rows; columns are `stride` bytes apart.
template <WordChange kChange>
struct Square4 {
  static HWY_INLINE void Move(const void* const* rows, int64_t at, int64_t stride, uint8_t* to) {
    const V32 r0 = LoadWords<kChange>(rows[0], at);
    const V32 r1 = LoadWords<kChange>(rows[1], at);
    const V32 r2 = LoadWords<kChange>(rows[2], at);
    const V32 r3 = LoadWords<kChange>(rows[3], at);
    const V32 a = Lower<uint32_t>(r0, r1);
    const V32 b = Lower<uint32_t>(r2, r3);
    const V32 c = Upper<uint32_t>(r0, r1);
    const V32 e = Upper<uint32_t>(r2, r3);
    StoreUnits(Lower<uint64_t>(a, b), to);
    StoreUnits(Upper<uint64_t>(a, b), to + stride);
    StoreUnits(Lower<uint64_t>(c, e), to + 2 * stride);
    StoreUnits(Upper<uint64_t>(c, e), to + 3 * stride);
  }
};

HWY_INLINE V16 LoadHalfWords(const void* row, int64_t at) {
  const D16 d;
  const hn::Repartition<uint8_t, D16> bytes;
  return hn::BitCast(d, hn::LoadU(bytes, static_cast<const uint8_t*>(row) + at));
}

// Two columns, of which each vector has the parts of four rows.
HWY_INLINE void StorePair(V16 first_rows, V16 last_rows, int64_t stride, uint8_t* to) {
  StoreUnits(Lower<uint64_t>(first_rows, last_rows), to);
  StoreUnits(Upper<uint64_t>(first_rows, last_rows), to + stride);
}

// Eight half words of each of eight rows.
struct Square8 {
  static HWY_INLINE void Move(const void* const* rows, int64_t at, int64_t stride, uint8_t* to) {
    const V16 r0 = LoadHalfWords(rows[0], at);
    const V16 r1 = LoadHalfWords(rows[1], at);
    const V16 r2 = LoadHalfWords(rows[2], at);
    const V16 r3 = LoadHalfWords(rows[3], at);
    const V16 r4 = LoadHalfWords(rows[4], at);
    const V16 r5 = LoadHalfWords(rows[5], at);
    const V16 r6 = LoadHalfWords(rows[6], at);
    const V16 r7 = LoadHalfWords(rows[7], at);
    // Inputs 0 to 3, then 4 to 7, of two rows each.
    const V16 a = Lower<uint16_t>(r0, r1);
    const V16 b = Lower<uint16_t>(r2, r3);
    const V16 c = Lower<uint16_t>(r4, r5);
    const V16 e = Lower<uint16_t>(r6, r7);
    StorePair(Lower<uint32_t>(a, b), Lower<uint32_t>(c, e), stride, to);
    StorePair(Upper<uint32_t>(a, b), Upper<uint32_t>(c, e), stride, to + 2 * stride);
    const V16 f = Upper<uint16_t>(r0, r1);
    const V16 g = Upper<uint16_t>(r2, r3);
    const V16 h = Upper<uint16_t>(r4, r5);
    const V16 i = Upper<uint16_t>(r6, r7);
    StorePair(Lower<uint32_t>(f, g), Lower<uint32_t>(h, i), stride, to + 4 * stride);
    StorePair(Upper<uint32_t>(f, g), Upper<uint32_t>(h, i), stride, to + 6 * stride);
  }
};

uint16_t ChangedUnit(WordChange /*change*/, uint16_t unit) { return unit; }
uint32_t ChangedUnit(WordChange change, uint32_t word) {
  if (change == WordChange::kFlipSigns) return word ^ 0x80808080;
  if (change == WordChange::kNone) return word;
  uint32_t spread = 0;
  for (uint32_t i = 0; i < 8; ++i) {
    spread |= (word >> (4 * i) & 15) << (8 * (i % 4) + 4 * (i / 4));
  }
  return spread;
}

// Rows [j, j_end), units [k, k_end), one by one.
template <typename U>
void TransposeRest(WordChange change, const void* const* rows, int64_t j, int64_t j_end,
                   int64_t offset, int64_t begin, int64_t end, int64_t width, uint8_t* to) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(U));
  for (; j < j_end; ++j) {
    const auto* from = static_cast<const uint8_t*>(rows[j]) + offset;
    for (int64_t k = begin; k < end; ++k) {
      U unit;
      std::memcpy(&unit, from + k * kSize, sizeof(U));
      unit = ChangedUnit(change, unit);
      std::memcpy(to + (k * width + j) * kSize, &unit, sizeof(U));
    }
  }
}

// `Square` moves as many rows and units as a vector of 16 bytes has units.
template <typename U, class Square>
void TransposeSquares(WordChange change, const void* const* rows, int64_t count, int64_t offset,
                      int64_t units, int64_t width, uint8_t* to) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(U));
  constexpr int64_t kSide = 16 / kSize;
  constexpr int64_t kLine = kLineBytes / kSize;
  const int64_t whole_rows = count / kSide * kSide;
  const int64_t whole_units = units / kSide * kSide;
  for (int64_t line = 0; line < whole_units; line += kLine) {
    const int64_t end = std::min(line + kLine, whole_units);
    for (int64_t j = 0; j < whole_rows; j += kSide) {
      for (int64_t k = line; k < end; k += kSide) {
        Square::Move(rows + j, offset + k * kSize, width * kSize, to + (k * width + j) * kSize);
      }
    }
  }
  TransposeRest<U>(change, rows, 0, whole_rows, offset, whole_units, units, width, to);
  TransposeRest<U>(change, rows, whole_rows, count, offset, 0, units, width, to);
}

void TransposeWordsTarget(WordChange change, const void* const* rows, int64_t count, int64_t offset,
                          int64_t units, int64_t width, uint8_t* to) {
  auto* transpose = TransposeSquares<uint32_t, Square4<WordChange::kNone>>;
  if (change == WordChange::kFlipSigns) {
    transpose = TransposeSquares<uint32_t, Square4<WordChange::kFlipSigns>>;
  } else if (change == WordChange::kSpreadHalfBytes) {
    transpose = TransposeSquares<uint32_t, Square4<WordChange::kSpreadHalfBytes>>;
  }
  transpose(change, rows, count, offset, units, width, to);
}

void TransposeHalfWordsTarget(const void* const* rows, int64_t count, int64_t offset, int64_t units,
                              int64_t width, uint8_t* to) {
  TransposeSquares<uint16_t, Square8>(WordChange::kNone, rows, count, offset, units, width, to);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {

HWY_EXPORT(TransposeWordsTarget);
HWY_EXPORT(TransposeHalfWordsTarget);

}  // namespace

void TransposeWords(WordChange change, const void* const* rows, int64_t count, int64_t offset,
                    int64_t units, int64_t width, void* to) {
  HWY_DYNAMIC_DISPATCH(TransposeWordsTarget)
  (change, rows, count, offset, units, width, static_cast<uint8_t*>(to));
}

void TransposeHalfWords(const void* const* rows, int64_t count, int64_t offset, int64_t units,
                        int64_t width, void* to) {
  HWY_DYNAMIC_DISPATCH(TransposeHalfWordsTarget)
  (rows, count, offset, units, width, static_cast<uint8_t*>(to));
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
