// words[at[i]] = values[i]: one thread a change. Bound by the launch.
#include "cuda/step.h"

#include "cuda/code.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;

// Not launched early: the first kernel of a step follows copies.
SIMT_KERNEL(kThreads) DeltaKernel(DeltaParams p) {
  ReleaseSuccessor();
  WaitForPredecessor();
  const auto i = static_cast<int32_t>(BlockX() * kThreads + ThreadX());
  if (i < p.count) p.words[p.at[i]] = p.values[i];
}

}  // namespace

int ApplyDeltas(const DeltaParams& p, Stream stream) {
  if (p.count <= 0) return 0;
  const auto blocks = static_cast<unsigned>((p.count + kThreads - 1) / kThreads);
  return Launch(DeltaKernel, {.grid = {blocks}, .block = {kThreads}}, stream, p);
}

int code::LoadStep() { return LoadKernels(DeltaKernel); }

}  // namespace inferd::cuda
