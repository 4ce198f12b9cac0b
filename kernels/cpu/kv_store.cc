// K[d][token] = key[d],  V[token][d] = value[d], rounded to the cache's elements.
//
// Layout: KvLayout (cpu/kv_cache.h). kI8: m = max|x| over the head,
// q = nearest-even(x * (127 / m)), scale m / 127. Bound: the stores of single key
// elements, token_stride apart.
#include "cpu/kv_cache.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kv_store.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/e4m3-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// Vector `i` of `n` floats; what lies behind them is zero.
HWY_INLINE VF LoadUpTo(const float* from, int64_t i, int64_t n) {
  return i + static_cast<int64_t>(LaneCount()) <= n
             ? LoadFloats(from + i)
             : LoadPartial(from + i, static_cast<size_t>(n - i));
}

template <class T>
void StoreFloatHead(const KvLayout& kv, std::byte* head, int64_t token, const float* from_key,
                    const float* from_value) {
  const auto lanes = static_cast<int64_t>(LaneCount());
  T* key = reinterpret_cast<T*>(head) + token;
  T* value = reinterpret_cast<T*>(head + kv.value_bytes) + token * kv.value_stride;
  for (int64_t i = 0; i < kv.head_dim; i += lanes) {
    // Converted in whole vectors; the keys are then scattered along their dims.
    alignas(64) T converted[16];
    StoreFloats(LoadUpTo(from_key, i, kv.head_dim), converted);
    const int64_t count = std::min(lanes, kv.head_dim - i);
    for (int64_t j = 0; j < count; ++j) key[(i + j) * kv.token_stride] = converted[j];
    // The padding behind head_dim takes the vector's zeros.
    StoreFloats(LoadUpTo(from_value, i, kv.head_dim), value + i);
  }
}

// What a head is multiplied with to become integers, and its scale.
struct Rounding {
  float factor;
  float scale;
};
HWY_INLINE Rounding RoundingOf(const float* x, int64_t n) {
  const DI di;
  const auto lanes = static_cast<int64_t>(LaneCount());
  // As integers the magnitudes keep their order, infinities and NaNs above all.
  auto largest = hn::Zero(di);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto bits = hn::BitCast(di, LoadUpTo(x, i, n));
    largest = hn::Max(largest, hn::And(bits, hn::Set(di, 0x7fffffff)));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
  if (bits >= 0x7f800000) return {0, std::numeric_limits<float>::quiet_NaN()};
  const float m = hn::GetLane(hn::BitCast(DF(), hn::Set(di, bits)));
  const float factor = 127.0F / m;
  // Too small for its reciprocal: zero.
  if (!(factor <= std::numeric_limits<float>::max())) return {0, 0};
  return {factor, m / 127.0F};
}

HWY_INLINE void RoundTo(const float* x, int64_t n, int64_t i, float factor, int8_t* to) {
  const DF d;
  const hn::Rebind<int8_t, DF> d8;
  // Zero times infinity is for a scale of NaN to report, not for the integers.
  const VF v = hn::Mul(LoadUpTo(x, i, n), hn::Set(d, factor));
  hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(v)), d8, to);
}

void StoreIntHead(const KvLayout& kv, std::byte* head, int64_t token, const float* from_key,
                  const float* from_value) {
  const auto lanes = static_cast<int64_t>(LaneCount());
  auto* key = reinterpret_cast<int8_t*>(head) + token;
  auto* value = reinterpret_cast<int8_t*>(head + kv.value_bytes) + token * kv.value_stride;
  auto* scales = reinterpret_cast<float*>(head + kv.scale_bytes) + token;
  const Rounding of_key = RoundingOf(from_key, kv.head_dim);
  const Rounding of_value = RoundingOf(from_value, kv.head_dim);
  scales[0] = of_key.scale;
  scales[kv.token_stride] = of_value.scale;
  for (int64_t i = 0; i < kv.head_dim; i += lanes) {
    alignas(64) int8_t rounded[16];
    RoundTo(from_key, kv.head_dim, i, of_key.factor, rounded);
    const int64_t count = std::min(lanes, kv.head_dim - i);
    for (int64_t j = 0; j < count; ++j) key[(i + j) * kv.token_stride] = rounded[j];
    RoundTo(from_value, kv.head_dim, i, of_value.factor, value + i);
  }
}

void StoreKvTarget(const KvLayout& kv, void* block, int64_t token, const float* keys,
                   const float* values) {
  for (int64_t h = 0; h < kv.num_kv_heads; ++h) {
    auto* head = static_cast<std::byte*>(block) + h * kv.head_bytes;
    const float* key = keys + h * kv.head_dim;
    const float* value = values + h * kv.head_dim;
    switch (kv.element) {
      case KvElement::kF32:
        StoreFloatHead<float>(kv, head, token, key, value);
        break;
      case KvElement::kBF16:
        StoreFloatHead<uint16_t>(kv, head, token, key, value);
        break;
      case KvElement::kE4M3:
        StoreFloatHead<E4M3>(kv, head, token, key, value);
        break;
      case KvElement::kI8:
        StoreIntHead(kv, head, token, key, value);
        break;
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(StoreKvTarget);
}  // namespace

KvLayout MakeKvLayout(KvElement element, int64_t num_kv_heads, int64_t head_dim,
                      int64_t block_size) {
  KvLayout kv{};
  kv.element = element;
  kv.num_kv_heads = num_kv_heads;
  kv.head_dim = head_dim;
  kv.block_size = block_size;
  kv.token_stride = RoundUp(block_size, 16);
  kv.value_stride = RoundUp(head_dim, 16);
  const int64_t size = element == KvElement::kF32 ? 4 : element == KvElement::kBF16 ? 2 : 1;
  kv.value_bytes = head_dim * kv.token_stride * size;
  kv.scale_bytes = kv.value_bytes + block_size * kv.value_stride * size;
  const int64_t scales = element == KvElement::kI8 ? 2 * kv.token_stride : 0;
  kv.head_bytes = kv.scale_bytes + scales * static_cast<int64_t>(sizeof(float));
  kv.block_bytes = RoundUp(num_kv_heads * kv.head_bytes, 64);
  return kv;
}

void StoreKv(const KvLayout& layout, void* block, int64_t token, const float* keys,
             const float* values) {
  HWY_DYNAMIC_DISPATCH(StoreKvTarget)(layout, block, token, keys, values);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
