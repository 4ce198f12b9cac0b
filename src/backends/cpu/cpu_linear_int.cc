#include "backends/cpu/cpu_linear_int.h"

#include <algorithm>
#include <cstring>
#include <vector>

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
// A hand-over, or the claim of another range, is not worth less than this many
// products.
constexpr int64_t kWorthSharing = 65536;

int64_t NumPanels(const LinearWeight& weight) {
  return (weight.out_features + kIntPanelWidth - 1) / kIntPanelWidth;
}

// body(begin, end, thread) over `tasks` items that make up `products` together.
template <class Body>
void Share(ThreadPool& pool, int64_t tasks, int64_t products, const Body& body) {
  if (products < kWorthSharing) {
    body(int64_t{0}, tasks, 0);
    return;
  }
  pool.ParallelFor(tasks, std::max<int64_t>(1, kWorthSharing * tasks / products), body);
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

kernels::IntRow RowOf(std::span<const RawLinear> parts, const IntLayout& layout, int64_t row) {
  size_t part = 0;
  while (row >= parts[part].data.dim(0)) row -= parts[part++].data.dim(0);
  const RawLinear& raw = parts[part];
  const int64_t groups = layout.in_features / layout.group_size;
  return {raw.data.As<std::byte>() + row * raw.data.dim(1),
          raw.scales.As<std::byte>() + row * groups * static_cast<int64_t>(sizeof(float)),
          layout.bits == 4 ? raw.zeros.As<uint8_t>() + row * groups : nullptr};
}

}  // namespace

Status PackIntLinear(std::span<const RawLinear> parts, Allocator& allocator, ThreadPool& pool,
                     LinearWeight* weight) {
  const IntLayout layout = ChooseLayout(parts, *weight);
  const int64_t panels = NumPanels(*weight);
  const int64_t panel_bytes = kernels::IntPanelBytes(layout);
  INFERD_ASSIGN_OR_RETURN(weight->packed,
                          Buffer::Create(allocator, kHeaderBytes + panels * panel_bytes));
  std::memcpy(weight->packed.data(), &layout, sizeof(layout));
  Share(pool, panels, weight->out_features * weight->in_features,
        [&](int64_t begin, int64_t end, int) {
          for (int64_t panel = begin; panel < end; ++panel) {
            kernels::IntRow rows[kIntPanelWidth];
            const int64_t first = panel * kIntPanelWidth;
            const int64_t count = std::min(kIntPanelWidth, weight->out_features - first);
            for (int64_t j = 0; j < count; ++j) rows[j] = RowOf(parts, layout, first + j);
            kernels::PackIntPanel(layout, rows, count,
                                  weight->packed.data() + kHeaderBytes + panel * panel_bytes);
          }
        });
  return OkStatus();
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
  const bool tiles = units.tiles != IntTiles::kNone && layout.bits == 8 && rows >= kWorthTiles;
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
    const int64_t row_tiles = (count + max_tile - 1) / max_tile;
    // Tiles of equal height: 16 rows are 8 + 8, not 12 + 4. AMX's are what they are.
    const int64_t tile_rows = tiles ? max_tile : (count + row_tiles - 1) / row_tiles;
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
    Share(pool, count, count * in * 4,
          [&](int64_t begin, int64_t end, int) { kernels::QuantizeRows(quantize, begin, end); });
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
    Share(pool, (panels + kTaskPanels - 1) / kTaskPanels, count * in * weight.out_features,
          [&](int64_t begin, int64_t end, int) {
            const int64_t last = std::min(end * kTaskPanels, panels);
            if (tiles) {
              kernels::LinearIntTiles(p, units.tiles == IntTiles::kEmulated, begin * kTaskPanels,
                                      last);
            } else {
              kernels::LinearInt(p, begin * kTaskPanels, last);
            }
          });
  }
}

}  // namespace inferd
