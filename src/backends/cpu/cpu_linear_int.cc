#include "backends/cpu/cpu_linear_int.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "backends/cpu/linear_tasks.h"
#include "backends/cpu/row_reader.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cpu/common.h"

namespace inferd {
namespace {

using kernels::IntLayout;
using kernels::kIntPanelWidth;
using kernels::RowScale;

// The layout stands before the panels.
constexpr int64_t kHeaderBytes = 64;
static_assert(sizeof(IntLayout) <= kHeaderBytes);
constexpr int32_t kLargestInt4Zero = 15;
// Panels are shared out in fours: the most a tile spans, and as many streams of
// weights as a thread reads at a time.
constexpr int64_t kTaskPanels = 4;
// With fewer rows the weights come from memory as fast either way.
constexpr int64_t kWorthTiles = 8;
// Weights of 4 bits have to be unpacked for the tiles, and sums of short groups scaled often.
constexpr int64_t kWorthInt4Tiles = 16;
constexpr int64_t kWorthInt4Products = 1024;  // rows times the inputs of a group

bool WorthTiles(const IntLayout& layout, int64_t rows) {
  if (!kernels::TilesTake(layout)) return false;
  if (layout.bits == 8) return rows >= kWorthTiles;
  return rows >= kWorthInt4Tiles && rows * layout.group_size >= kWorthInt4Products;
}

int64_t NumPanels(const LinearWeight& weight) {
  return (weight.out_features + kIntPanelWidth - 1) / kIntPanelWidth;
}

IntLayout ChooseLayout(std::span<const RawLinear> parts, const LinearWeight& weight) {
  IntLayout layout;
  layout.in_features = weight.in_features;
  layout.group_size = weight.in_features;
  if (weight.format == WeightFormat::kInt8) return layout;
  layout.bits = 4;
  layout.group_size = weight.group_size;
  layout.half_scales = true;
  layout.zero = *parts[0].zeros.As<uint8_t>();
  for (const RawLinear& part : parts) {
    const int64_t n = part.scales.NumElements();
    layout.half_scales = layout.half_scales && kernels::ScalesFitF16(part.scales.data, n);
    const auto* zeros = part.zeros.As<uint8_t>();
    const bool same = std::all_of(zeros, zeros + n, [&](uint8_t z) { return z == layout.zero; });
    if (!same) layout.zero = kernels::kZeroPerGroup;
  }
  return layout;
}

// Member by member: what pads the layout must not reach a file.
void WriteHeader(const IntLayout& layout, std::byte* to) {
  std::memset(to, 0, kHeaderBytes);
  const auto put = [to](size_t offset, const auto& value) {
    std::memcpy(to + offset, &value, sizeof(value));
  };
  put(offsetof(IntLayout, bits), layout.bits);
  put(offsetof(IntLayout, in_features), layout.in_features);
  put(offsetof(IntLayout, group_size), layout.group_size);
  put(offsetof(IntLayout, half_scales), layout.half_scales);
  put(offsetof(IntLayout, zero), layout.zero);
}

// Row `row`, whose values are at `values`.
kernels::IntRow RowOf(std::span<const RawLinear> parts, const IntLayout& layout, int64_t row,
                      const void* values) {
  const PlacedRow placed = FindRow(parts, row);
  const RawLinear& raw = placed.part;
  const int64_t groups = layout.in_features / layout.group_size;
  return {values,
          raw.scales.As<std::byte>() + placed.row * groups * static_cast<int64_t>(sizeof(float)),
          layout.bits == 4 ? raw.zeros.As<uint8_t>() + placed.row * groups : nullptr};
}

}  // namespace

Status PackIntLinear(std::span<const RawLinear> parts, const FileBytes* files, Allocator& allocator,
                     ThreadPool& pool, LinearWeight* weight) {
  const IntLayout layout = ChooseLayout(parts, *weight);
  const int64_t panels = NumPanels(*weight);
  const int64_t panel_bytes = kernels::IntPanelBytes(layout);
  INFERD_ASSIGN_OR_RETURN(weight->packed,
                          Buffer::Create(allocator, kHeaderBytes + panels * panel_bytes));
  WriteHeader(layout, weight->packed.data());
  INFERD_ASSIGN_OR_RETURN(
      RowReader reader, RowReader::Create(parts, kIntPanelWidth, pool.threads(), files, allocator));
  ShareProducts(pool, panels, weight->out_features * weight->in_features,
                [&](int64_t begin, int64_t end, int thread) {
                  for (int64_t panel = begin; panel < end; ++panel) {
                    kernels::IntRow rows[kIntPanelWidth];
                    const int64_t first = panel * kIntPanelWidth;
                    const int64_t count = std::min(kIntPanelWidth, weight->out_features - first);
                    const void* values[kIntPanelWidth];
                    reader.Read(thread, first, count, values);
                    for (int64_t j = 0; j < count; ++j) {
                      rows[j] = RowOf(parts, layout, first + j, values[j]);
                    }
                    kernels::PackIntPanel(
                        layout, rows, count,
                        weight->packed.data() + kHeaderBytes + panel * panel_bytes);
                  }
                });
  return reader.status();
}

bool IntLinearFits(const LinearWeight& weight) {
  IntLayout layout;
  if (weight.packed.size() < static_cast<size_t>(kHeaderBytes)) return false;
  std::memcpy(&layout, weight.packed.data(), sizeof(layout));
  const bool four = weight.format == WeightFormat::kInt4;
  const int64_t group_size = four ? weight.group_size : weight.in_features;
  const bool sound = layout.bits == (four ? 4 : 8) && layout.in_features == weight.in_features &&
                     layout.group_size == group_size && group_size > 0 &&
                     weight.in_features % group_size == 0 && (!four || group_size % 32 == 0) &&
                     layout.zero >= (four ? kernels::kZeroPerGroup : kernels::kInt8Zero) &&
                     layout.zero <= (four ? kLargestInt4Zero : kernels::kInt8Zero);
  return sound &&
         weight.packed.size() ==
             static_cast<size_t>(kHeaderBytes + NumPanels(weight) * kernels::IntPanelBytes(layout));
}

int64_t IntLinearRowBytes(int64_t in_features) {
  // Values, and a scale per group of no fewer than 32.
  const int64_t groups = std::max<int64_t>(1, in_features / 32);
  return kernels::QuantizedRowBytes(in_features, /*wide=*/true) +
         groups * static_cast<int64_t>(sizeof(RowScale));
}

void RunIntLinear(TensorView x, const LinearWeight& weight, IntUnits units, TensorView scratch,
                  ThreadPool& pool, TensorView out) {
  const int64_t rows = x.dim(0);
  if (rows == 0) return;
  IntLayout layout;
  std::memcpy(&layout, weight.packed.data(), sizeof(layout));
  const int64_t in = layout.in_features;
  const int64_t groups = in / layout.group_size;
  const bool four = layout.bits == 4;
  const bool tiles = units.tiles != IntTiles::kNone && WorthTiles(layout, rows);
  const int64_t q_bytes = kernels::QuantizedRowBytes(in, tiles);
  const int64_t row_bytes = q_bytes + groups * static_cast<int64_t>(sizeof(RowScale));
  const int64_t room = scratch.empty() ? 0 : scratch.NumBytes() / row_bytes;
  INFERD_CHECK(room > 0);
  const int64_t step = std::min(rows, room);
  const int64_t max_tile =
      tiles ? kernels::kIntTileRows : kernels::LinearIntMaxTileRows(units.dots);
  const int64_t panels = NumPanels(weight);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const int64_t tile_rows = TileRows(count, max_tile, tiles);
    auto* scales = scratch.As<RowScale>();
    auto* q = reinterpret_cast<int8_t*>(scales + count * groups);
    const bool per_group = layout.zero == kernels::kZeroPerGroup;
    const kernels::QuantizeRowsParams quantize{x.As<float>() + first * in,
                                               count,
                                               in,
                                               layout.group_size,
                                               per_group ? 1 : layout.zero,
                                               tile_rows,
                                               q,
                                               scales,
                                               tiles};
    ShareProducts(pool, count, count * in * 4, [&](int64_t begin, int64_t end, int) {
      kernels::QuantizeRows(quantize, begin, end);
    });
    const kernels::LinearIntParams p{units.dots,
                                     layout,
                                     weight.packed.data() + kHeaderBytes,
                                     weight.out_features,
                                     weight.bias.size() > 0 ? Floats(weight.bias) : nullptr,
                                     q,
                                     scales,
                                     count,
                                     tile_rows,
                                     out.As<float>() + first * weight.out_features};
    ShareProducts(pool, (panels + kTaskPanels - 1) / kTaskPanels, count * in * weight.out_features,
                  [&](int64_t begin, int64_t end, int) {
                    const int64_t last = std::min(end * kTaskPanels, panels);
                    if (tiles) {
                      const auto multiply =
                          four ? kernels::LinearInt4Tiles : kernels::LinearIntTiles;
                      multiply(p, units.tiles == IntTiles::kEmulated, begin * kTaskPanels, last);
                    } else {
                      kernels::LinearInt(p, begin * kTaskPanels, last);
                    }
                  });
  }
}

}  // namespace inferd
