// Loads of weights: read once by the whole grid and written by no kernel, so they
// pass the level-1 cache and may be issued before the predecessor has ended. Those that are
// to be on their way then have functions of their own: ptxas moves the others past the wait.
#pragma once

#include "cuda/vec.h"

namespace inferd::cuda {

using Words = Vec<uint32_t, 4>;
using WeightPair = Vec<uint32_t, 2>;

#ifdef __CUDACC__
SIMT_DEVICE Words LoadWeightWords(const uint32_t* from) {
  Words words;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.v[0]), "=r"(words.v[1]), "=r"(words.v[2]), "=r"(words.v[3])
               : "l"(from));
  return words;
}
SIMT_DEVICE WeightPair LoadWeightPair(const uint32_t* from) {
  WeightPair words;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];"
               : "=r"(words.v[0]), "=r"(words.v[1])
               : "l"(from));
  return words;
}
// Ordered with all else that is volatile.
SIMT_DEVICE Words LoadWeightWordsEarly(const uint32_t* from) {
  Words words;
  asm volatile("ld.relaxed.gpu.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.v[0]), "=r"(words.v[1]), "=r"(words.v[2]), "=r"(words.v[3])
               : "l"(from)
               : "memory");
  return words;
}
SIMT_DEVICE WeightPair LoadWeightPairEarly(const uint32_t* from) {
  WeightPair words;
  asm volatile("ld.relaxed.gpu.global.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];"
               : "=r"(words.v[0]), "=r"(words.v[1])
               : "l"(from)
               : "memory");
  return words;
}
#else
inline Words LoadWeightWordsEarly(const uint32_t* from) { return LoadVec<uint32_t, 4>(from); }
inline WeightPair LoadWeightPairEarly(const uint32_t* from) { return LoadVec<uint32_t, 2>(from); }
inline WeightPair LoadWeightPair(const uint32_t* from) { return LoadVec<uint32_t, 2>(from); }
inline Words LoadWeightWords(const uint32_t* from) { return LoadVec<uint32_t, 4>(from); }
#endif

}  // namespace inferd::cuda
