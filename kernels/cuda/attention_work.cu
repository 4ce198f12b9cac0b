// Two passes over the sequences by one block: the number of splits, then a running
// sum of each sequence's counts, which says where its items go.
#include "cuda/attention_work.h"

#include "cuda/code.h"
#include "cuda/reduce.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

SIMT_HOST_DEVICE WorkOffsets Plus(WorkOffsets a, WorkOffsets b) {
  return {a.decode + b.decode, a.prefill + b.prefill, a.groups + b.groups,
          a.partial_rows + b.partial_rows};
}
// The sum of the lanes up to this one.
SIMT_DEVICE int32_t WarpSumUpTo(int32_t value) {
  for (unsigned n = 1; n < kWarpSize; n *= 2) {
    const int32_t other = ShflUp(value, n);
    if (Lane() >= n) value += other;
  }
  return value;
}

SIMT_HOST_DEVICE int64_t SplitsOf(const SequenceWork& work) {
  return int64_t{work.decode_tiles} * work.splits;
}

SIMT_KERNEL(kThreads)
WorkKernel(AttentionWorkParams p) {
  SIMT_SHARED(sums, Array<int64_t, kWarps>);
  SIMT_SHARED(warps, Array<WorkOffsets, kWarps>);
  ReleaseSuccessor();
  WaitForPredecessor();
  int64_t splits = 0;
  for (int32_t s = static_cast<int32_t>(ThreadX()); s < p.num_sequences; s += kThreads) {
    splits += SplitsOf(DescribeSequence(p, s));
  }
  splits = BlockReduce(splits, &sums[0], AddOperation{});
  const int32_t quota = SplitQuota(p, splits);

  WorkOffsets before = {0, 0, 0, 0};
  for (int32_t first = 0; first < p.num_sequences; first += kThreads) {
    const int32_t s = first + static_cast<int32_t>(ThreadX());
    SequenceWork work = {0, 0, 0, 0};
    if (s < p.num_sequences) work = DescribeSequence(p, s);
    const WorkOffsets own = CountWork(work, quota);
    const WorkOffsets up_to = {WarpSumUpTo(own.decode), WarpSumUpTo(own.prefill),
                               WarpSumUpTo(own.groups), WarpSumUpTo(own.partial_rows)};
    if (Lane() == kWarpSize - 1) warps[static_cast<int>(Warp())] = up_to;
    SyncThreads();
    WorkOffsets at = before;
    for (int w = 0; w < kWarps; ++w) {
      if (w < static_cast<int>(Warp())) at = Plus(at, warps[w]);
      before = Plus(before, warps[w]);
    }
    at = Plus(at, {up_to.decode - own.decode, up_to.prefill - own.prefill,
                   up_to.groups - own.groups, up_to.partial_rows - own.partial_rows});
    if (s < p.num_sequences) WriteWork(p, s, work, quota, at);
    SyncThreads();
  }
  if (ThreadX() == 0) {
    p.counts->num_decode = before.decode < p.max_decode ? before.decode : p.max_decode;
    p.counts->num_prefill = before.prefill < p.max_prefill ? before.prefill : p.max_prefill;
  }
}

bool IsValid(const AttentionWorkParams& p) {
  return p.num_sequences >= 0 && p.group > 0 && p.num_kv_heads > 0 && p.num_blocks > 0;
}

}  // namespace

int BuildAttentionWork(const AttentionWorkParams& p, Stream stream) {
  if (!IsValid(p)) return kBadArguments;
  return Launch(WorkKernel, {.grid = {1}, .block = {kThreads}}, stream, p);
}

void BuildAttentionWorkOnHost(const AttentionWorkParams& p) {
  int64_t splits = 0;
  for (int32_t s = 0; s < p.num_sequences; ++s) splits += SplitsOf(DescribeSequence(p, s));
  const int32_t quota = SplitQuota(p, splits);
  WorkOffsets at = {0, 0, 0, 0};
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    const SequenceWork work = DescribeSequence(p, s);
    WriteWork(p, s, work, quota, at);
    at = Plus(at, CountWork(work, quota));
  }
  p.counts->num_decode = at.decode < p.max_decode ? at.decode : p.max_decode;
  p.counts->num_prefill = at.prefill < p.max_prefill ? at.prefill : p.max_prefill;
}

int64_t MaxDecodeItems(int32_t max_sequences, int64_t max_context) {
  constexpr int64_t kTiles = kMaxDecodeRows / kDecodeTileRows;
  return max_sequences * kTiles * ((max_context + kSplitKeys - 1) / kSplitKeys);
}

int64_t MaxPrefillItems(int32_t max_sequences, int64_t max_rows, int32_t group) {
  return max_rows * group / kPrefillTileRows + max_sequences;
}

int code::LoadAttentionWork() { return LoadKernels(WorkKernel); }

}  // namespace inferd::cuda
