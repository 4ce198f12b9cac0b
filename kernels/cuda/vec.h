// Loads and stores of several neighbouring numbers at once. Addresses must be
// aligned to the whole vector, as the device demands; emulation checks it.
#pragma once

#include <cstring>

#include "cuda/number.h"
#include "cuda/simt.h"

namespace inferd::cuda {

template <class T, int kSize>
struct alignas(sizeof(T) * kSize) Vec {
  T v[kSize];
};

#ifdef __CUDACC__

template <class T, int kSize>
SIMT_DEVICE Vec<T, kSize> LoadVec(const T* from) {
  return *reinterpret_cast<const Vec<T, kSize>*>(from);
}
// Past the level-1 cache: what another block has written and fenced.
SIMT_DEVICE float LoadFromBlocks(const float* from) { return __ldcg(from); }
template <class T, int kSize>
SIMT_DEVICE void StoreVec(T* to, const Vec<T, kSize>& vec) {
  *reinterpret_cast<Vec<T, kSize>*>(to) = vec;
}

#else

namespace emulator {
inline void CheckAlignment(const void* address, size_t bytes, Place place) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) Fail("a misaligned vector", place);
}
}  // namespace emulator
template <class T, int kSize>
Vec<T, kSize> LoadVec(const T* from, emulator::Place place = emulator::Here()) {
  emulator::CheckAlignment(from, sizeof(T) * kSize, place);
  Vec<T, kSize> vec;
  std::memcpy(&vec, from, sizeof(vec));
  return vec;
}
inline float LoadFromBlocks(const float* from) { return *from; }
template <class T, int kSize>
void StoreVec(T* to, const Vec<T, kSize>& vec, emulator::Place place = emulator::Here()) {
  emulator::CheckAlignment(to, sizeof(T) * kSize, place);
  std::memcpy(to, &vec, sizeof(vec));
}

#endif

// kSize numbers as floats, and back.
template <int kSize, class T>
SIMT_DEVICE void LoadFloats(const T* from, float (&to)[kSize]) {
  const Vec<T, kSize> vec = LoadVec<T, kSize>(from);
  SIMT_UNROLL
  for (int i = 0; i < kSize; ++i) to[i] = ToFloat(vec.v[i]);
}
template <int kSize, class T>
SIMT_DEVICE void StoreFloats(T* to, const float (&from)[kSize]) {
  Vec<T, kSize> vec;
  SIMT_UNROLL
  for (int i = 0; i < kSize; ++i) vec.v[i] = FromFloat<T>(from[i]);
  StoreVec<T, kSize>(to, vec);
}

}  // namespace inferd::cuda
