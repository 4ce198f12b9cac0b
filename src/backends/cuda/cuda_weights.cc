#include "backends/cuda/cuda_weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cuda/arena_map.h"
#include "backends/host/host_weights.h"
#include "cuda/linear.h"

namespace inferd {
namespace {

constexpr auto kAlign = static_cast<int64_t>(ArenaMap::kUnit);

int64_t PaddedOutputs(const LinearWeight& weight) {
  return cuda::RoundUp(weight.out_features, cuda::kInt4TileOutputs);
}

// Eight neighbouring inputs, in their order from the lowest bits up, as the kernel takes them:
// the first four in the low halves of four bytes, the others in the high ones.
uint32_t ArrangeEight(uint32_t codes) {
  const auto spread = [](uint32_t four) {
    four = (four | four << 8) & 0x00ff00ffU;
    return (four | four << 4) & 0x0f0f0f0fU;
  };
  return spread(codes & 0xffffU) | spread(codes >> 16) << 4;
}

// Inputs of a word of codes, and words of a row of a block.
constexpr int64_t kWordInputs = 8;
constexpr size_t kBlockWords = cuda::kInt4BlockInputs / kWordInputs;

// Where they lie from where the first of them does.
constexpr std::array<int64_t, kBlockWords> kWordPlaces = [] {
  std::array<int64_t, kBlockWords> places{};
  for (size_t i = 0; i < places.size(); ++i) {
    places[i] =
        cuda::PlaceInt4(0, static_cast<int64_t>(i) * kWordInputs, cuda::kInt4BlockInputs).byte;
  }
  return places;
}();

void WriteInt4Tile(std::span<const RawLinear> parts, const LinearWeight& weight, int64_t tile,
                   int64_t tile_bytes, std::byte* to) {
  const int64_t in = weight.in_features;
  std::memset(to, 0, static_cast<size_t>(tile_bytes));
  for (int64_t row = 0; row < cuda::kInt4TileOutputs; ++row) {
    const int64_t output = tile * cuda::kInt4TileOutputs + row;
    if (output >= weight.out_features) return;
    const auto [part, part_row] = FindRow(parts, output);
    const std::byte* from = part.data.As<std::byte>() + part_row * in / 2;
    for (int64_t input = 0; input < in; input += cuda::kInt4BlockInputs) {
      std::byte* block = to + cuda::PlaceInt4(row, input, in).byte;
      const auto words = static_cast<size_t>((in - input) / kWordInputs);
      for (size_t i = 0; i < std::min(kBlockWords, words); ++i, from += sizeof(uint32_t)) {
        uint32_t codes = 0;
        std::memcpy(&codes, from, sizeof(codes));
        codes = ArrangeEight(codes);
        std::memcpy(block + kWordPlaces[i], &codes, sizeof(codes));
      }
    }
  }
}

// Rows [first, first + count) of the transposed values of all parts, zeros behind them.
template <typename T>
void WriteGroups(std::span<const RawLinear> parts, const GroupRows& rows, int64_t first,
                 int64_t count, TensorView RawLinear::*values, T* to) {
  // As many outputs at a time as a line of the cache has scales.
  constexpr int64_t kAtOnce = 16;
  int64_t output = 0;
  for (const RawLinear& part : parts) {
    const int64_t outputs = part.data.dim(0);
    const T* from = (part.*values).As<T>() + first;
    for (int64_t o = 0; o < outputs; o += kAtOnce) {
      const int64_t end = std::min(outputs, o + kAtOnce);
      for (int64_t g = 0; g < count; ++g) {
        T* at = to + g * rows.outputs + output;
        for (int64_t r = o; r < end; ++r) *at++ = from[r * rows.groups + g];
      }
      output += end - o;
    }
  }
  for (int64_t g = 0; g < count; ++g) {
    std::fill(to + g * rows.outputs + output, to + (g + 1) * rows.outputs, T{});
  }
}

}  // namespace

int64_t FloatRowBytes(DType dtype, int64_t in_features) {
  if (dtype == DType::kBF16) return cuda::Bf16RowBytes(in_features);
  if (dtype == DType::kF16) return cuda::HalfRowBytes(in_features);
  return in_features * DTypeSize(dtype);
}

PackedForm FormOf(const LinearWeight& weight) {
  PackedForm form;
  const int64_t in = weight.in_features;
  form.num_rows = weight.out_features;
  switch (weight.format) {
    case WeightFormat::kF32:
    case WeightFormat::kF16:
    case WeightFormat::kBF16:
      form.row_bytes = FloatRowBytes(FormatDType(weight.format), in);
      break;
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Weights:
    case WeightFormat::kInt8:
      form.row_bytes = cuda::Int8RowBytes(in);
      break;
    case WeightFormat::kInt4:
      form.num_rows = PaddedOutputs(weight) / cuda::kInt4TileOutputs;
      form.row_bytes = cuda::Int4CodeBytes(cuda::kInt4TileOutputs, in);
      break;
  }
  form.scales_at = form.zeros_at = form.bytes = form.value_bytes();
  if (IsFp8(weight.format)) {
    const int64_t scales = in / weight.group_size * weight.out_features;
    form.scales_at = cuda::RoundUp(form.bytes, kAlign);
    form.zeros_at = form.bytes = form.scales_at + scales * static_cast<int64_t>(sizeof(float));
  }
  if (weight.format == WeightFormat::kInt8) {
    form.scales_at = cuda::RoundUp(form.bytes, kAlign);
    form.zeros_at = form.bytes =
        form.scales_at + weight.out_features * static_cast<int64_t>(sizeof(float));
  }
  if (weight.format == WeightFormat::kInt4) {
    const int64_t pairs = in / weight.group_size * PaddedOutputs(weight);
    form.scales_at = cuda::RoundUp(form.bytes, kAlign);
    form.zeros_at = form.scales_at + pairs * static_cast<int64_t>(sizeof(float));
    form.bytes = form.zeros_at + pairs;
  }
  return form;
}

Status WritePackedRows(std::span<const RawLinear> parts, const LinearWeight& weight,
                       int64_t first_row, int64_t count, const FileBytes* files, std::byte* to) {
  const PackedForm form = FormOf(weight);
  if (weight.format == WeightFormat::kInt4) {
    for (int64_t i = 0; i < count; ++i, to += form.row_bytes) {
      WriteInt4Tile(parts, weight, first_row + i, form.row_bytes, to);
    }
    return OkStatus();
  }
  const int64_t bytes = weight.in_features * DTypeSize(FormatDType(weight.format));
  for (int64_t i = 0; i < count;) {
    const auto [part, row] = FindRow(parts, first_row + i);
    // Rows without padding lie in the matrix as they do in the checkpoint.
    const int64_t rows = bytes == form.row_bytes ? std::min(count - i, part.data.dim(0) - row) : 1;
    const std::byte* from = part.data.As<std::byte>() + row * bytes;
    INFERD_RETURN_IF_ERROR(ReadBytes(files, to, from, static_cast<size_t>(rows * bytes)));
    std::memset(to + rows * bytes, 0, static_cast<size_t>(rows * (form.row_bytes - bytes)));
    to += rows * form.row_bytes;
    i += rows;
  }
  return OkStatus();
}

GroupRows GroupRowsOf(const LinearWeight& weight) {
  if (IsFloat(weight.format)) return {};
  const bool four = weight.format == WeightFormat::kInt4;
  return {weight.group_size > 0 ? weight.in_features / weight.group_size : 1,
          four ? PaddedOutputs(weight) : weight.out_features};
}

void WritePackedScales(std::span<const RawLinear> parts, const LinearWeight& weight, int64_t first,
                       int64_t count, std::byte* to) {
  WriteGroups(parts, GroupRowsOf(weight), first, count, &RawLinear::scales,
              reinterpret_cast<float*>(to));
}

void WritePackedZeros(std::span<const RawLinear> parts, const LinearWeight& weight, int64_t first,
                      int64_t count, std::byte* to) {
  WriteGroups(parts, GroupRowsOf(weight), first, count, &RawLinear::zeros,
              reinterpret_cast<uint8_t*>(to));
}

}  // namespace inferd
