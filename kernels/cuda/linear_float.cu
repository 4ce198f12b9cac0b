// out[m, n] = sum_k x[m, k] w[n, k] (+ bias[n]), f32 weights, f32 arithmetic.
//
//   x    f32 [rows, inputs]; w [outputs, inputs]
//   grid (outputs / 64, rows / kRows), 256 threads; tiles of 32 inputs in shared memory
//
// Each output is one chain of fused multiply-adds in the order of the inputs, so it
// does not depend on kRows. For checkpoints in f32; not tuned.
#include "cuda/code.h"
#include "cuda/linear.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kOutputs = 64;
constexpr int kInputs = 32;

template <int kRows>
SIMT_KERNEL(kThreads)
FloatKernel(LinearFloatParams p) {
  using WeightTile = Array<float, kOutputs*(kInputs + 1)>;
  using RowTile = Array<float, kRows * kInputs>;
  SIMT_SHARED(weights, WeightTile);
  SIMT_SHARED(x, RowTile);
  const auto thread = static_cast<int32_t>(ThreadX());
  const int32_t first_output = static_cast<int32_t>(BlockX()) * kOutputs;
  const int32_t first_row = static_cast<int32_t>(BlockY()) * kRows;
  // A thread has one output and every fourth row of the tile.
  const int32_t output = thread % kOutputs;
  const int32_t row = thread / kOutputs;
  constexpr int kRowStep = kThreads / kOutputs;
  constexpr int kOwn = kRows / kRowStep;
  float sums[kOwn];
  SIMT_UNROLL
  for (int i = 0; i < kOwn; ++i) sums[i] = 0;

  ReleaseSuccessor();
  WaitForPredecessor();
  for (int32_t first = 0; first < p.inputs; first += kInputs) {
    for (int32_t i = thread; i < kOutputs * kInputs; i += kThreads) {
      const int32_t o = first_output + i / kInputs;
      const int32_t k = first + i % kInputs;
      weights[i / kInputs * (kInputs + 1) + i % kInputs] =
          o < p.outputs && k < p.inputs ? p.weights[static_cast<int64_t>(o) * p.inputs + k] : 0.0F;
    }
    for (int32_t i = thread; i < kRows * kInputs; i += kThreads) {
      const int32_t r = first_row + i / kInputs;
      const int32_t k = first + i % kInputs;
      x[i] = r < p.rows && k < p.inputs ? p.x[static_cast<int64_t>(r) * p.inputs + k] : 0.0F;
    }
    SyncThreads();
    // Past the last input both are zero.
    for (int32_t k = 0; k < kInputs; ++k) {
      const float w = weights[output * (kInputs + 1) + k];
      SIMT_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        sums[i] = fmaf(x[(row + kRowStep * i) * kInputs + k], w, sums[i]);
      }
    }
    SyncThreads();
  }
  SIMT_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int32_t r = first_row + row + kRowStep * i;
    const int32_t o = first_output + output;
    if (r < p.rows && o < p.outputs) {
      p.out[static_cast<int64_t>(r) * p.outputs + o] =
          sums[i] + (p.bias != nullptr ? p.bias[o] : 0.0F);
    }
  }
}

template <int kRows>
int LaunchFloat(const LinearFloatParams& p, Stream stream) {
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(RoundUp(p.outputs, kOutputs) / kOutputs),
                static_cast<unsigned>(RoundUp(p.rows, kRows) / kRows)};
  shape.block = {kThreads};
  shape.early = true;
  return Launch(FloatKernel<kRows>, shape, stream, p);
}

}  // namespace

int LinearFloat(LinearFloatParams p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  if (p.inputs <= 0) return kBadArguments;
  return p.rows <= 8 ? LaunchFloat<8>(p, stream) : LaunchFloat<32>(p, stream);
}

int code::LoadLinearFloat() { return LoadKernels(FloatKernel<8>, FloatKernel<32>); }

}  // namespace inferd::cuda
