#include <algorithm>

#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/linear_tasks.h"
#include "backends/host/tensor_checks.h"
#include "cpu/linear_bf16.h"

namespace inferd {

void CpuOps::LinearBf16(TensorView x, const LinearWeight& weight, TensorView out) {
  using kernels::Bf16Unit;
  const Bf16Unit unit = *bf16_;
  const bool tile_unit = unit == Bf16Unit::kTiles || unit == Bf16Unit::kEmulatedTiles;
  const int64_t in = weight.in_features;
  const int64_t rows = x.dim(0);
  const int64_t width = kernels::LinearPanelWidth();
  const int64_t panels = (weight.out_features + width - 1) / width;
  // As many rows at a time as scratch holds, rounded.
  const int64_t room =
      scratch_.empty() ? 0 : scratch_.NumBytes() / kernels::PackedBf16RowBytes(unit, in);
  INFERD_CHECK(room > 0);
  const int64_t step = std::min(rows, room);
  const int64_t most = tile_unit ? kernels::kAmxTileRows : kernels::LinearMaxTileRows();
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const int64_t tile_rows = TileRows(count, most, tile_unit);
    const kernels::PackBf16RowsParams pack{unit,      x.As<float>() + first * in, count, in,
                                           tile_rows, scratch_.As<std::byte>()};
    Split((count + tile_rows - 1) / tile_rows, in * tile_rows,
          [&](int64_t begin, int64_t end, int) { kernels::PackBf16Rows(pack, begin, end); });
    const kernels::LinearParams p{kernels::Element::kBF16,
                                  weight.packed.data(),
                                  weight.out_features,
                                  in,
                                  weight.bias.size() > 0 ? Floats(weight.bias) : nullptr,
                                  pack.packed,
                                  count,
                                  tile_rows,
                                  out.As<float>() + first * weight.out_features,
                                  unit == Bf16Unit::kPairs};
    Split(panels, in * width * count / 16, [&](int64_t begin, int64_t end, int) {
      if (tile_unit) {
        kernels::LinearTiles(p, unit == Bf16Unit::kEmulatedTiles, begin, end);
      } else {
        kernels::Linear(p, begin, end);
      }
    });
  }
}

}  // namespace inferd
