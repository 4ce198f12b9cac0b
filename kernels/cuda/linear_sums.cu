// What sums go through after a matrix product that left them in place: scales and bias. A block
// takes every eighth 256 outputs of a row, or more of few. Bound by bytes, of few rows by latency.
#include "cuda/code.h"
#include "cuda/linear_warps.h"
#include "cuda/number.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;

// Calls change(value, output) for each of the block's part of a row of `out`.
template <class Change>
SIMT_DEVICE void EachOutput(float* out, int32_t outputs, const Change& change) {
  float* const row = out + static_cast<int64_t>(BlockX()) * outputs;
  for (auto i = static_cast<int32_t>(ThreadX() + BlockY() * kThreads); i < outputs;
       i += static_cast<int32_t>(GridDimY()) * kThreads) {
    change(row[i], i);
  }
}

SIMT_KERNEL(kThreads) ScaleSumsKernel(LinearInt8Params p) {
  ReleaseSuccessor();
  WaitForPredecessor();
  const float x_scale = p.x_scales[BlockX()];
  EachOutput(p.out, p.outputs, [&](float& out, int32_t i) {
    const auto sum = static_cast<int32_t>(BitsOfFloat(out));
    out = AddScaled(BiasOf(p.bias, i), static_cast<float>(sum), x_scale, p.weight_scales[i]);
  });
}

SIMT_KERNEL(kThreads) ScaleFp8SumsKernel(LinearFp8Params p) {
  ReleaseSuccessor();
  WaitForPredecessor();
  const float x_scale = p.x_scales[BlockX()];
  EachOutput(p.out, p.outputs, [&](float& out, int32_t i) {
    out = AddScaled(BiasOf(p.bias, i), out, x_scale, p.weight_scales[i]);
  });
}

SIMT_KERNEL(kThreads) ScaleHalfSumsKernel(LinearHalfParams p) {
  ReleaseSuccessor();
  WaitForPredecessor();
  const float x_scale = p.x_scales[BlockX()];
  EachOutput(p.out, p.outputs, [&](float& out, int32_t i) {
    out = AddScaled(BiasOf(p.bias, i), out, x_scale, 1.0F);
  });
}

SIMT_KERNEL(kThreads) BiasKernel(BiasParams p) {
  ReleaseSuccessor();
  WaitForPredecessor();
  EachOutput(p.out, p.outputs, [&](float& out, int32_t i) { out += p.bias[i]; });
}

LaunchShape ShapeOf(int32_t rows, int32_t outputs) {
  constexpr unsigned kMost = 8;
  const auto blocks = static_cast<unsigned>(RoundUp(outputs, kThreads) / kThreads);
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(rows), blocks < kMost ? blocks : kMost};
  shape.block = {kThreads};
  shape.early = true;
  return shape;
}

}  // namespace

int ScaleFp8Sums(LinearFp8Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(ScaleFp8SumsKernel, ShapeOf(p.rows, p.outputs), stream, p);
}

int ScaleHalfSums(LinearHalfParams p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(ScaleHalfSumsKernel, ShapeOf(p.rows, p.outputs), stream, p);
}

int ScaleInt8Sums(LinearInt8Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(ScaleSumsKernel, ShapeOf(p.rows, p.outputs), stream, p);
}

int AddBias(BiasParams p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(BiasKernel, ShapeOf(p.rows, p.outputs), stream, p);
}

int code::LoadLinearSums() {
  return LoadKernels(ScaleSumsKernel, ScaleFp8SumsKernel, ScaleHalfSumsKernel, BiasKernel);
}

}  // namespace inferd::cuda
