// out[m][n] = bias[n] + sum_g xs[m][g] ws[g][n] sum_{k in g} x[m][k] w[n][k]
//
// Layout: cpu/linear_fp8.h. Order: for a column group of 128 outputs and as many rows as
// their sums fit in L1 and L2 (96), block by block of 128 inputs: its codes are read once,
// widened to 32 KiB of bf16, and multiplied with all those rows. Where a group of inputs
// ends its sums are scaled and added to the output.
// Per output the order of sums is that of the bf16 unit within a block, then the blocks in
// order, whatever the number of rows.
// Bound: one byte per weight for few rows, if widening keeps up (about ten instructions
// per 32 weights); products beyond.
#include "cpu/linear_fp8.h"

#include <algorithm>
#include <cstring>

#include "cpu/transpose.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_fp8.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// As many 16-bit lanes as two vectors of floats have.
using DS = HWY_CAPPED(uint16_t, 32);
using DSB = hn::Repartition<uint8_t, DS>;
using DC = hn::Rebind<uint8_t, DS>;

// The low and the high bytes of the bf16 numbers 0, 1 .. 7 * 2^-9.
HWY_ALIGN constexpr uint8_t kSubnormals[16] = {0x00, 0x00, 0x80, 0xc0, 0x00, 0x20, 0x40, 0x60,
                                               0x00, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c};

// E4M3, a number to each 16-bit lane, as bf16.
HWY_INLINE hn::Vec<DS> Widen(hn::Vec<DS> code) {
  const DS d;
  const DSB db;
  const auto high = hn::ShiftLeft<8>(code);
  const auto sign = hn::And(high, hn::Set(d, 0x8000));
  const auto rest = hn::And(high, hn::Set(d, 0x7f00));
  const auto normal = hn::Add(hn::ShiftRight<4>(rest), hn::Set(d, 120 << 7));
  // The mantissa in both bytes, each to look up its own byte of the result.
  const auto index = hn::Or(hn::And(hn::Or(code, high), hn::Set(d, 0x0707)), hn::Set(d, 0x0800));
  const auto table = hn::LoadDup128(db, kSubnormals);
  const auto subnormal = hn::BitCast(d, hn::TableLookupBytes(table, hn::BitCast(db, index)));
  // Of bytes without a sign: comparing signed numbers is cheaper.
  const hn::RebindToSigned<DS> di;
  const auto is_subnormal = hn::Lt(hn::BitCast(di, rest), hn::Set(di, 0x0800));
  return hn::Or(hn::IfThenElse(hn::RebindMask(d, is_subnormal), subnormal, normal), sign);
}

// `count` codes to bf16; whole vectors, as panels are two vectors wide.
void WidenTarget(const uint8_t* codes, int64_t count, uint16_t* to) {
  // Far enough ahead for DRAM.
  constexpr int64_t kPrefetchBytes = 2048;
  constexpr int64_t kLine = 64;
  const DC dc;
  const DS ds;
  const auto lanes = static_cast<int64_t>(hn::Lanes(ds));
  for (int64_t i = 0; i < count; i += lanes) {
    if (i % kLine == 0) hwy::Prefetch(codes + i + kPrefetchBytes);
    hn::Store(Widen(hn::PromoteTo(ds, hn::Load(dc, codes + i))), ds, to + i);
  }
}

// One row of a column group's sums: out = (add ? out : 0) + sums * scales * row (+ bias).
void ScaleTarget(const float* sums, const float* scales, float row, const float* bias, bool add,
                 int64_t count, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF factor = hn::Set(d, row);
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t left = count - i;
    const auto part = static_cast<size_t>(left);
    const bool whole = left >= lanes;
    const VF before = !add    ? hn::Zero(d)
                      : whole ? hn::LoadU(d, out + i)
                              : LoadPartial(out + i, part);
    const VF scaled = hn::Mul(hn::LoadU(d, sums + i), hn::LoadU(d, scales + i));
    VF result = hn::MulAdd(scaled, factor, before);
    if (bias != nullptr) {
      result = hn::Add(result, whole ? hn::LoadU(d, bias + i) : LoadPartial(bias + i, part));
    }
    if (whole) {
      hn::StoreU(result, d, out + i);
    } else {
      StorePartial(result, out + i, part);
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {

HWY_EXPORT(WidenTarget);
HWY_EXPORT(ScaleTarget);

constexpr int64_t kChunkRows = 96;

bool IsTiles(Bf16Unit unit) { return unit == Bf16Unit::kTiles || unit == Bf16Unit::kEmulatedTiles; }

// Outputs of a column group, padded to panels.
int64_t PaddedColumns(const Fp8Layout& layout, int64_t group) {
  return std::min(kFp8Columns, layout.padded_outputs() - group * kFp8Columns);
}

}  // namespace

int64_t Fp8Layout::block_inputs() const {
  if (group_size == in_features) return kMaxFp8BlockInputs;
  for (const int64_t size : {128, 96, 64}) {
    if (group_size % size == 0) return size;
  }
  return 32;
}

void PackFp8Columns(const Fp8Layout& layout, const Fp8Row* rows, int64_t group, void* packed) {
  const int64_t width = LinearPanelWidth();
  const int64_t first = group * kFp8Columns;
  const int64_t count = std::min(kFp8Columns, layout.out_features - first);
  const int64_t panels = PaddedColumns(layout, group) / width;
  const void* codes[kFp8Columns];
  for (int64_t j = 0; j < count; ++j) codes[j] = rows[j].codes;
  auto* to = static_cast<uint8_t*>(packed) + first * RoundUp(layout.in_features, 2);
  for (int64_t k = 0; k < layout.in_features; k += layout.block_inputs()) {
    const int64_t n = std::min(layout.block_inputs(), layout.in_features - k);
    const int64_t panel_bytes = RoundUp(n, 2) * width;
    for (int64_t panel = 0; panel < panels; ++panel, to += panel_bytes) {
      const int64_t here = std::clamp<int64_t>(count - panel * width, 0, width);
      if (here < width || n % 2 != 0) std::memset(to, 0, static_cast<size_t>(panel_bytes));
      const void* const* from = codes + panel * width;
      TransposeHalfWords(from, here, k, n / 2, width, to);
      if (n % 2 == 0) continue;
      for (int64_t j = 0; j < here; ++j) {
        to[((n - 1) * width) + j * 2] = static_cast<const uint8_t*>(from[j])[k + n - 1];
      }
    }
  }
  auto* scales = reinterpret_cast<float*>(static_cast<std::byte*>(packed) + layout.code_bytes());
  for (int64_t g = 0; g < layout.groups(); ++g, scales += layout.padded_outputs()) {
    std::fill_n(scales + first, panels * width, 0.0F);
    for (int64_t j = 0; j < count; ++j) {
      std::memcpy(scales + first + j, static_cast<const float*>(rows[j].scales) + g, sizeof(float));
    }
  }
}

void LinearFp8(const LinearFp8Params& p, int64_t begin, int64_t end) {
  const Fp8Layout& layout = p.layout;
  const int64_t block_inputs = layout.block_inputs();
  const int64_t row_bytes = PackedBf16RowBytes(p.unit, block_inputs);
  const int64_t panels_wide = kFp8Columns / LinearPanelWidth();
  const auto* scales = reinterpret_cast<const float*>(static_cast<const std::byte*>(p.weights) +
                                                      layout.code_bytes());
  const int64_t chunk = std::max<int64_t>(1, kChunkRows / p.tile_rows) * p.tile_rows;
  alignas(64) uint16_t wide[kFp8Columns * kMaxFp8BlockInputs];
  alignas(64) float sums[kChunkRows * kFp8Columns];
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * kFp8Columns;
    const int64_t columns = std::min(kFp8Columns, layout.out_features - first);
    const int64_t padded = PaddedColumns(layout, group);
    const auto* group_codes =
        static_cast<const uint8_t*>(p.weights) + first * RoundUp(layout.in_features, 2);
    for (int64_t row = 0; row < p.rows; row += chunk) {
      const int64_t rows = std::min(chunk, p.rows - row);
      const uint8_t* codes = group_codes;
      for (int64_t k = 0; k < layout.in_features; k += block_inputs) {
        const int64_t n = std::min(block_inputs, layout.in_features - k);
        const int64_t values = padded * RoundUp(n, 2);
        HWY_DYNAMIC_DISPATCH(WidenTarget)(codes, values, wide);
        codes += values;
        LinearParams product{Element::kBF16, wide, padded,      n,   nullptr,
                             nullptr,        rows, p.tile_rows, sums};
        // Rows are dense within a block, which may be the last and shorter.
        product.packed = static_cast<const std::byte*>(p.x) +
                         k / block_inputs * p.rows * row_bytes +
                         row * PackedBf16RowBytes(p.unit, n);
        product.pairs = p.unit == Bf16Unit::kPairs;
        product.accumulate = k % layout.group_size != 0;
        if (IsTiles(p.unit)) {
          LinearTiles(product, p.unit == Bf16Unit::kEmulatedTiles, 0, panels_wide);
        } else {
          Linear(product, 0, padded / LinearPanelWidth());
        }
        const int64_t done = k + n;
        if (done % layout.group_size != 0) continue;
        const int64_t g = k / layout.group_size;
        const bool last = done == layout.in_features;
        for (int64_t m = 0; m < rows; ++m) {
          const float of_row =
              p.scales == nullptr ? 1.0F : p.scales[(row + m) * layout.groups() + g];
          HWY_DYNAMIC_DISPATCH(ScaleTarget)
          (sums + m * padded, scales + g * layout.padded_outputs() + first, of_row,
           last && p.bias != nullptr ? p.bias + first : nullptr, g > 0, columns,
           p.out + (row + m) * layout.out_features + first);
        }
      }
    }
  }
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
