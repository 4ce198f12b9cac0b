// Sums and maxima over a warp and over a block. Every thread takes part and gets
// the result; the order of additions is fixed, so results are the same bit for bit.
#pragma once

#include "cuda/simt.h"

namespace inferd::cuda {

struct AddOperation {
  template <class T>
  SIMT_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct MaxOperation {
  template <class T>
  SIMT_DEVICE T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

template <class T, class Operation>
SIMT_DEVICE T WarpReduce(T value, Operation combine) {
  SIMT_UNROLL
  for (unsigned bits = kWarpSize / 2; bits > 0; bits /= 2) {
    value = combine(value, ShflXor(value, bits));
  }
  return value;
}

// `scratch` is shared memory for one value per warp, free again after the next
// barrier. The block is a multiple of 32 threads.
template <class T, class Operation>
SIMT_DEVICE T BlockReduce(T value, T* scratch, Operation combine) {
  value = WarpReduce(value, combine);
  if (Lane() == 0) scratch[Warp()] = value;
  SyncThreads();
  const unsigned warps = BlockDimX() / kWarpSize;
  T result = scratch[0];
  for (unsigned w = 1; w < warps; ++w) result = combine(result, scratch[w]);
  return result;
}

}  // namespace inferd::cuda
