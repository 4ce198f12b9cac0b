#include "backends/host/host_weights.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace inferd {
namespace {

bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool HasShape(const TensorView& view, DType dtype, std::initializer_list<int64_t> dims) {
  return !view.empty() && view.dtype == dtype && view.rank == static_cast<int>(dims.size()) &&
         std::equal(dims.begin(), dims.end(), view.shape.begin());
}

// Sums of products must fit 32 bits: 128 * 127 * inputs.
constexpr int64_t kMaxIntInputs = int64_t{1} << 17;

// The scales and zero points of a part of `weight`.
Status CheckIntLinear(const RawLinear& part, const LinearWeight& weight) {
  const int64_t out = part.data.dim(0);
  const int64_t in = weight.in_features;
  if (in > kMaxIntInputs) {
    return InvalidArgumentError("integer weights take at most " + std::to_string(kMaxIntInputs) +
                                " inputs");
  }
  if (weight.format == WeightFormat::kInt8) {
    if (!HasShape(part.scales, DType::kF32, {out})) {
      return InvalidArgumentError("8-bit weights need an f32 scale per output");
    }
    return OkStatus();
  }
  const int32_t group_size = part.group_size;
  if (group_size < 32 || group_size % 32 != 0 || in % group_size != 0) {
    return InvalidArgumentError(
        "the group size of 4-bit weights must be a multiple of 32 that "
        "divides " +
        std::to_string(in) + ", not " + std::to_string(group_size));
  }
  if (group_size != weight.group_size) {
    return InvalidArgumentError("the parts of a linear weight must have one group size");
  }
  const int64_t groups = in / group_size;
  if (!HasShape(part.scales, DType::kF32, {out, groups}) ||
      !HasShape(part.zeros, DType::kU8, {out, groups})) {
    return InvalidArgumentError(
        "4-bit weights need an f32 scale and a u8 zero point per output "
        "and group");
  }
  const auto* zeros = part.zeros.As<uint8_t>();
  uint8_t largest = 0;  // of all, without a way out: many at a time
  for (int64_t i = 0; i < out * groups; ++i) largest = std::max(largest, zeros[i]);
  if (largest > 15) {
    return InvalidArgumentError("the zero points of 4-bit weights must be at most 15");
  }
  return OkStatus();
}

// The scales of a part of `weight`.
Status CheckFp8Linear(const RawLinear& part, const LinearWeight& weight) {
  const int64_t in = weight.in_features;
  const int64_t group_size = part.group_size;
  if (group_size != in && (group_size < 32 || group_size % 32 != 0 || in % group_size != 0)) {
    return InvalidArgumentError("the group size of FP8 weights must be " + std::to_string(in) +
                                " or a multiple of 32 that divides it, not " +
                                std::to_string(group_size));
  }
  if (group_size != weight.group_size) {
    return InvalidArgumentError("the parts of a linear weight must have one group size");
  }
  if (!HasShape(part.scales, DType::kF32, {part.data.dim(0), in / group_size})) {
    return InvalidArgumentError("FP8 weights need an f32 scale per output and group");
  }
  return OkStatus();
}

}  // namespace

float LoadFloat(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32: {
      float value = 0;  // a checkpoint's bytes need not be aligned
      std::memcpy(&value, static_cast<const std::byte*>(data) + i * 4, 4);
      return value;
    }
    case DType::kF16:
    case DType::kBF16: {
      uint16_t bits = 0;
      std::memcpy(&bits, static_cast<const std::byte*>(data) + i * 2, 2);
      return dtype == DType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
    }
    case DType::kF8E4M3:
      return E4M3ToF32(static_cast<const uint8_t*>(data)[i]);
    default:
      INFERD_CHECK(false);
  }
}

StatusOr<LinearWeight> DescribeLinear(std::span<const RawLinear> parts,
                                      std::span<const TensorView> bias) {
  if (parts.empty()) return InvalidArgumentError("a linear weight needs at least one part");
  if (!bias.empty() && bias.size() != parts.size()) {
    return InvalidArgumentError("a linear weight needs one bias per part, or none");
  }
  LinearWeight weight;
  weight.format = parts[0].format;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorView& data = parts[i].data;
    if (data.empty() || data.rank != 2 || data.dim(0) < 1 || data.dim(1) < 1) {
      return InvalidArgumentError("a linear weight must be a non-empty matrix");
    }
    if (parts[i].format != weight.format || data.dtype != FormatDType(weight.format)) {
      return InvalidArgumentError("the parts of a linear weight must have one format");
    }
    const int64_t in = weight.format == WeightFormat::kInt4 ? data.dim(1) * 2 : data.dim(1);
    if (i == 0) {
      weight.in_features = in;
      const bool grouped = weight.format == WeightFormat::kInt4 || IsFp8(weight.format);
      weight.group_size = grouped ? parts[0].group_size : 0;
    }
    if (in != weight.in_features) {
      return InvalidArgumentError("the parts of a linear weight must have one input size");
    }
    if (IsFp8(weight.format)) INFERD_RETURN_IF_ERROR(CheckFp8Linear(parts[i], weight));
    if (IsInteger(weight.format)) INFERD_RETURN_IF_ERROR(CheckIntLinear(parts[i], weight));
    if (!bias.empty() && (bias[i].NumElements() != data.dim(0) || !IsFloat(bias[i].dtype))) {
      return InvalidArgumentError("a bias must be a float vector of its part's output size, " +
                                  std::to_string(data.dim(0)));
    }
    weight.out_features += data.dim(0);
  }
  return weight;
}

StatusOr<Buffer> JoinBias(std::span<const TensorView> bias, const FileBytes* files,
                          Allocator& allocator) {
  int64_t size = 0;
  for (const TensorView& part : bias) size += part.NumElements();
  INFERD_ASSIGN_OR_RETURN(Buffer joined, Buffer::Create(allocator, size * sizeof(float)));
  auto* out = reinterpret_cast<float*>(joined.data());
  std::vector<std::byte> read;
  for (const TensorView& part : bias) {
    const void* data = part.data;
    if (files != nullptr) {
      read.resize(static_cast<size_t>(part.NumBytes()));
      INFERD_RETURN_IF_ERROR(files->Read(read.data(), data, read.size()));
      data = read.data();
    }
    for (int64_t i = 0; i < part.NumElements(); ++i) *out++ = LoadFloat(data, part.dtype, i);
  }
  return joined;
}

StatusOr<VectorWeight> VectorToF32(const TensorView& host, const FileBytes* files,
                                   Allocator& allocator) {
  if (host.empty() || !IsFloat(host.dtype)) {
    return InvalidArgumentError("a weight vector must hold f32, f16 or bf16");
  }
  VectorWeight weight;
  weight.size = host.NumElements();
  INFERD_ASSIGN_OR_RETURN(weight.data, JoinBias({&host, 1}, files, allocator));
  return weight;
}

StatusOr<EmbeddingTable> BorrowEmbedding(const TensorView& host) {
  if (host.empty() || host.rank != 2 || !IsFloat(host.dtype)) {
    return InvalidArgumentError("an embedding table must be a matrix of f32, f16 or bf16");
  }
  EmbeddingTable table;
  table.view = host;
  return table;
}

StatusOr<EmbeddingTable> PackedTable(const LinearWeight& head) {
  if (!IsFloat(head.format)) return UnimplementedError("quantised rows are not read");
  EmbeddingTable table;
  table.view = TensorView(head.packed.data(), FormatDType(head.format),
                          {head.out_features, head.in_features});
  table.packed = true;
  return table;
}

StatusOr<Buffer> CopyFloats(std::span<const float> host, Allocator& allocator) {
  INFERD_ASSIGN_OR_RETURN(Buffer buffer, Buffer::Create(allocator, host.size_bytes()));
  if (!host.empty()) std::memcpy(buffer.data(), host.data(), host.size_bytes());
  return buffer;
}

}  // namespace inferd
