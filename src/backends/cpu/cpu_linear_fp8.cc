#include "backends/cpu/cpu_linear_fp8.h"

#include <algorithm>

#include "backends/cpu/linear_tasks.h"
#include "backends/cpu/row_reader.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cpu/common.h"

namespace inferd {
namespace {

using kernels::Bf16Unit;
using kernels::Fp8Layout;

constexpr int64_t kLeastGroup = 32;
constexpr auto kScaleBytes = static_cast<int64_t>(sizeof(float));

Fp8Layout LayoutOf(const LinearWeight& weight) {
  return {weight.out_features, weight.in_features, weight.group_size};
}

// Row `row`, whose codes are at `codes`.
kernels::Fp8Row RowOf(std::span<const RawLinear> parts, const Fp8Layout& layout, int64_t row,
                      const void* codes) {
  const PlacedRow placed = FindRow(parts, row);
  return {codes, placed.part.scales.As<std::byte>() + placed.row * layout.groups() * kScaleBytes};
}

}  // namespace

Status PackFp8Linear(std::span<const RawLinear> parts, const FileBytes* files, Allocator& allocator,
                     ThreadPool& pool, LinearWeight* weight) {
  const Fp8Layout layout = LayoutOf(*weight);
  INFERD_ASSIGN_OR_RETURN(weight->packed,
                          Buffer::Create(allocator, static_cast<size_t>(layout.packed_bytes())));
  INFERD_ASSIGN_OR_RETURN(RowReader reader, RowReader::Create(parts, kernels::kFp8Columns,
                                                              pool.threads(), files, allocator));
  ShareProducts(pool, layout.column_groups(), layout.out_features * layout.in_features,
                [&](int64_t begin, int64_t end, int thread) {
                  for (int64_t group = begin; group < end; ++group) {
                    kernels::Fp8Row rows[kernels::kFp8Columns];
                    const int64_t first = group * kernels::kFp8Columns;
                    const int64_t count =
                        std::min(kernels::kFp8Columns, layout.out_features - first);
                    const void* codes[kernels::kFp8Columns];
                    reader.Read(thread, first, count, codes);
                    for (int64_t j = 0; j < count; ++j) {
                      rows[j] = RowOf(parts, layout, first + j, codes[j]);
                    }
                    kernels::PackFp8Columns(layout, rows, group, weight->packed.data());
                  }
                });
  return reader.status();
}

bool Fp8LinearFits(const LinearWeight& weight) {
  const int64_t in = weight.in_features;
  const int64_t group = weight.group_size;
  const bool sound =
      group == in || (group >= kLeastGroup && group % kLeastGroup == 0 && in % group == 0);
  return sound && weight.packed.size() == static_cast<size_t>(LayoutOf(weight).packed_bytes());
}

int64_t Fp8LinearRowBytes(int64_t in_features) {
  // Values, at most as f32 in blocks of 128, and a scale per group of no fewer than 32.
  return kernels::RoundUp(in_features, kernels::kMaxFp8BlockInputs) * kScaleBytes +
         std::max<int64_t>(1, in_features / kLeastGroup) * kScaleBytes;
}

void RunFp8Linear(TensorView x, const LinearWeight& weight, std::optional<Bf16Unit> unit,
                  TensorView scratch, ThreadPool& pool, TensorView out) {
  const Fp8Layout layout = LayoutOf(weight);
  const Bf16Unit with = unit.value_or(Bf16Unit::kWiden);
  const bool round = weight.format == WeightFormat::kFp8;
  const bool tiles = with == Bf16Unit::kTiles || with == Bf16Unit::kEmulatedTiles;
  const int64_t in = layout.in_features;
  const int64_t rows = x.dim(0);
  const int64_t scale_bytes = layout.groups() * kScaleBytes;
  const int64_t row_bytes = kernels::PackedFp8RowBytes(layout, with) + scale_bytes;
  const int64_t room = scratch.empty() ? 0 : scratch.NumBytes() / row_bytes;
  INFERD_CHECK(room > 0 || rows == 0);
  const int64_t step = std::min(rows, room);
  const int64_t most = tiles ? kernels::kAmxTileRows : kernels::LinearMaxTileRows();
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const int64_t tile_rows = TileRows(count, most, tiles);
    // The values come first: they are aligned.
    auto* packed = scratch.As<std::byte>();
    auto* scales = reinterpret_cast<float*>(packed + count * (row_bytes - scale_bytes));
    const kernels::PackFp8RowsParams pack{
        layout,    with,   round, /*floats=*/!round && !unit, x.As<float>() + first * in, count,
        tile_rows, packed, scales};
    ShareProducts(pool, (count + tile_rows - 1) / tile_rows, count * in * 4,
                  [&](int64_t begin, int64_t end, int) { kernels::PackFp8Rows(pack, begin, end); });
    const kernels::LinearFp8Params p{layout,
                                     with,
                                     weight.packed.data(),
                                     weight.bias.size() > 0 ? Floats(weight.bias) : nullptr,
                                     packed,
                                     round ? scales : nullptr,
                                     count,
                                     tile_rows,
                                     out.As<float>() + first * layout.out_features};
    ShareProducts(pool, layout.column_groups(), count * in * layout.out_features,
                  [&](int64_t begin, int64_t end, int) { kernels::LinearFp8(p, begin, end); });
  }
}

}  // namespace inferd
