// Embed, GatherRows, CopyColumns, AddRows: a block takes 1024 columns of a row, a thread four of
// them (or one at a time where rows are not aligned).
#include "cuda/rows.h"

#include "cuda/code.h"
#include "cuda/row_access.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockColumns = kThreads * 4;

// Calls use(column) for the block's columns, kSize at a time.
template <int kSize, class Use>
SIMT_DEVICE void ForColumns(int64_t columns, Use use) {
  const int64_t first = int64_t{BlockY()} * kBlockColumns;
  const int64_t end = first + kBlockColumns < columns ? first + kBlockColumns : columns;
  for (int64_t c = first + int64_t{ThreadX()} * kSize; c < end; c += int64_t{kThreads} * kSize) {
    use(c);
  }
}

template <int kSize>
SIMT_KERNEL(kThreads)
EmbedKernel(EmbedParams p) {
  const int64_t row = BlockX();
  ReleaseSuccessor();
  WaitForPredecessor();
  int64_t id = p.ids[row];
  if (id < -1 && id >= -1 - int64_t{p.num_drawn}) id = p.drawn[-2 - id];
  const int64_t entry = id - p.first_row;
  const bool known = entry >= 0 && entry < p.table_rows;
  ForColumns<kSize>(p.columns, [&](int64_t c) {
    float v[kSize] = {};
    if (known) LoadColumns<kSize>(p.table, entry, c, v);
    StoreColumns<kSize>(p.out, row, c, v);
  });
  const bool outside = id < -1 || id >= p.vocabulary;
  if (outside && ThreadX() == 0 && BlockY() == 0) AtomicExchange(p.error, 1);
}

template <int kSize>
SIMT_KERNEL(kThreads)
GatherKernel(GatherParams p) {
  const int64_t row = BlockX();
  ReleaseSuccessor();
  WaitForPredecessor();
  const int64_t source = p.source[row];
  ForColumns<kSize>(p.columns, [&](int64_t c) {
    float v[kSize];
    LoadColumns<kSize>(p.x, source, c, v);
    StoreColumns<kSize>(p.out, row, c, v);
  });
}

template <int kSize>
SIMT_KERNEL(kThreads)
CopyColumnsKernel(CopyColumnsParams p) {
  const int64_t row = BlockX();
  ReleaseSuccessor();
  WaitForPredecessor();
  ForColumns<kSize>(p.columns, [&](int64_t c) {
    float v[kSize];
    LoadColumns<kSize>(p.from, row, p.from_column + c, v);
    StoreColumns<kSize>(p.to, row, p.to_column + c, v);
  });
}

template <int kSize>
SIMT_KERNEL(kThreads)
AddKernel(AddParams p) {
  const int64_t row = BlockX();
  ReleaseSuccessor();
  WaitForPredecessor();
  ForColumns<kSize>(p.columns, [&](int64_t c) {
    float x[kSize];
    float y[kSize];
    LoadColumns<kSize>(p.x, row, c, x);
    LoadColumns<kSize>(p.y, row, c, y);
    SIMT_UNROLL
    for (int i = 0; i < kSize; ++i) x[i] += y[i];
    StoreColumns<kSize>(p.x, row, c, x);
  });
}

LaunchShape ShapeOf(int32_t num_rows, int64_t columns, bool early) {
  const auto blocks = static_cast<unsigned>((columns + kBlockColumns - 1) / kBlockColumns);
  return {.grid = {static_cast<unsigned>(num_rows), blocks},
          .block = {kThreads},
          .shared_bytes = 0,
          .early = early};
}

}  // namespace

int Embed(const EmbedParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  const bool fours = TakesFours(p.table, p.columns) && TakesFours(p.out, p.columns);
  // The first of a step: it may not begin before what makes its ids has ended.
  return Launch(fours ? EmbedKernel<4> : EmbedKernel<1>, ShapeOf(p.num_rows, p.columns, false),
                stream, p);
}

int GatherRows(const GatherParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  const bool fours = TakesFours(p.x, p.columns) && TakesFours(p.out, p.columns);
  return Launch(fours ? GatherKernel<4> : GatherKernel<1>, ShapeOf(p.num_rows, p.columns, true),
                stream, p);
}

int CopyColumns(const CopyColumnsParams& p, Stream stream) {
  if (p.num_rows == 0 || p.columns == 0) return 0;
  const bool fours = TakesFours(p.from, p.columns) && TakesFours(p.to, p.columns) &&
                     p.from_column % 4 == 0 && p.to_column % 4 == 0;
  return Launch(fours ? CopyColumnsKernel<4> : CopyColumnsKernel<1>,
                ShapeOf(p.num_rows, p.columns, true), stream, p);
}

int AddRows(const AddParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  const bool fours = TakesFours(p.x, p.columns) && TakesFours(p.y, p.columns);
  return Launch(fours ? AddKernel<4> : AddKernel<1>, ShapeOf(p.num_rows, p.columns, true), stream,
                p);
}

int code::LoadRows() {
  return LoadKernels(EmbedKernel<4>, EmbedKernel<1>, GatherKernel<4>, GatherKernel<1>,
                     CopyColumnsKernel<4>, CopyColumnsKernel<1>, AddKernel<4>, AddKernel<1>);
}

}  // namespace inferd::cuda
