#include <algorithm>

#include "backends/cpu/cpu_linear_fp8.h"
#include "backends/cpu/cpu_linear_int.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/linear_tasks.h"
#include "backends/cpu/row_reader.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cpu/linear.h"

namespace inferd {
namespace {

kernels::Element ElementOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return kernels::Element::kF32;
    case WeightFormat::kF16:
      return kernels::Element::kF16;
    case WeightFormat::kBF16:
      return kernels::Element::kBF16;
    case WeightFormat::kInt8:
    case WeightFormat::kInt4:
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Weights:
      break;
  }
  INFERD_CHECK(false);
}

constexpr int64_t kMaxPanelWidth = 32;

// Raised whenever what Pack writes changes.
constexpr int kPackedVersion = 1;

}  // namespace

bool CpuOps::Supports(WeightFormat /*format*/) const { return true; }

StatusOr<LinearWeight> CpuOps::Pack(std::span<const RawLinear> parts,
                                    std::span<const TensorView> bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, DescribeLinear(parts, bias));
  INFERD_ASSIGN_OR_RETURN(weight.bias, JoinBias(bias, files_, allocator_));
  if (IsInteger(weight.format)) {
    INFERD_RETURN_IF_ERROR(PackIntLinear(parts, files_, allocator_, pool_, &weight));
    return weight;
  }
  if (IsFp8(weight.format)) {
    INFERD_RETURN_IF_ERROR(PackFp8Linear(parts, files_, allocator_, pool_, &weight));
    return weight;
  }
  const int64_t in = weight.in_features;
  const kernels::Element element = ElementOf(weight.format);
  const int64_t width = kernels::LinearPanelWidth();
  const int64_t panels = (weight.out_features + width - 1) / width;
  const int64_t bytes = kernels::LinearPackedBytes(element, weight.out_features, in);
  INFERD_CHECK(width <= kMaxPanelWidth);
  INFERD_ASSIGN_OR_RETURN(weight.packed, Buffer::Create(allocator_, bytes));
  INFERD_ASSIGN_OR_RETURN(RowReader reader,
                          RowReader::Create(parts, width, pool_.threads(), files_, allocator_));
  const auto pack = [&](int64_t begin, int64_t end, int thread) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const void* rows[kMaxPanelWidth];
      const int64_t first = panel * width;
      const int64_t count = std::min(width, weight.out_features - first);
      reader.Read(thread, first, count, rows);
      kernels::PackLinearPanel(element, rows, count, in,
                               weight.packed.data() + panel * (bytes / panels));
    }
  };
  Split(panels, in * width, pack);
  INFERD_RETURN_IF_ERROR(reader.status());
  return weight;
}

bool CpuOps::ReadsRows(WeightFormat format) const { return IsFloat(format); }

StatusOr<EmbeddingTable> CpuOps::TableOf(const LinearWeight& head) const {
  return PackedTable(head);
}

// Panels of floats are as wide as the instruction set's vectors; those of integers
// are the same everywhere.
std::string CpuOps::PackedLayout() const {
  return "cpu " + std::to_string(kPackedVersion) + ", panels of " +
         std::to_string(kernels::LinearPanelWidth());
}

bool CpuOps::Accepts(const LinearWeight& weight) const {
  const int64_t out = weight.out_features;
  const int64_t in = weight.in_features;
  const auto bias_bytes = static_cast<size_t>(out) * sizeof(float);
  if (out < 1 || in < 1 || (weight.bias.size() != 0 && weight.bias.size() != bias_bytes)) {
    return false;
  }
  if (IsInteger(weight.format)) return IntLinearFits(weight);
  if (IsFp8(weight.format)) return Fp8LinearFits(weight);
  const int64_t bytes = kernels::LinearPackedBytes(ElementOf(weight.format), out, in);
  return weight.packed.size() == static_cast<size_t>(bytes);
}

void CpuOps::Linear(TensorView x, const LinearWeight& weight, TensorView out) {
  const int64_t in = weight.in_features;
  const int64_t rows = x.dim(0);
  CheckRows(x, rows, in);
  CheckRows(out, rows, weight.out_features);
  if (rows == 0) return;
  if (IsInteger(weight.format)) {
    RunIntLinear(x, weight, int_units_, scratch_, pool_, out);
    return;
  }
  if (IsFp8(weight.format)) {
    RunFp8Linear(x, weight, bf16_, scratch_, pool_, out);
    return;
  }
  if (bf16_ && weight.format == WeightFormat::kBF16) {
    LinearBf16(x, weight, out);
    return;
  }
  const int64_t width = kernels::LinearPanelWidth();
  const int64_t panels = (weight.out_features + width - 1) / width;
  const int64_t max_tile = kernels::LinearMaxTileRows();
  // As many rows at a time as scratch holds in tile order; a single row is in
  // that order as it is.
  const auto room = scratch_.empty()
                        ? int64_t{0}
                        : scratch_.NumBytes() / (in * static_cast<int64_t>(sizeof(float)));
  INFERD_CHECK(rows == 1 || room > 0);
  const int64_t step = rows == 1 ? 1 : std::min(rows, room);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const int64_t tile_rows = TileRows(count, max_tile, /*fixed=*/false);
    const float* from = x.As<float>() + first * in;
    if (count > 1) {
      const kernels::PackRowsParams pack{from, count, in, tile_rows, scratch_.As<float>()};
      Split((count + tile_rows - 1) / tile_rows, in * tile_rows,
            [&](int64_t begin, int64_t end, int) { kernels::PackRows(pack, begin, end); });
      from = scratch_.As<float>();
    }
    const kernels::LinearParams p{ElementOf(weight.format),
                                  weight.packed.data(),
                                  weight.out_features,
                                  in,
                                  weight.bias.size() > 0 ? Floats(weight.bias) : nullptr,
                                  from,
                                  count,
                                  tile_rows,
                                  out.As<float>() + first * weight.out_features};
    Split(panels, in * width * count / 16,
          [&](int64_t begin, int64_t end, int) { kernels::Linear(p, begin, end); });
  }
}

}  // namespace inferd
