// Matrix products: of floats in double; of integers exactly, and of E4M3 in double, then
// scaled in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "backends/ref/ref_ops.h"

namespace inferd {
namespace {

int64_t Groups(const LinearWeight& weight) {
  return weight.group_size > 0 ? weight.in_features / weight.group_size : 1;
}

// Packed integers: values i8 [out, in] with the zero points taken off, then
// scales f32 [out, groups].
void UnpackIntegers(std::span<const RawLinear> parts, const LinearWeight& weight) {
  const int64_t in = weight.in_features;
  const int64_t groups = Groups(weight);
  auto* values = reinterpret_cast<int8_t*>(weight.packed.data());
  std::byte* scales = weight.packed.data() + weight.out_features * in;
  for (const RawLinear& part : parts) {
    for (int64_t j = 0; j < part.data.dim(0); ++j) {
      for (int64_t i = 0; i < in; ++i) {
        if (weight.format == WeightFormat::kInt8) {
          *values++ = part.data.As<int8_t>()[j * in + i];
          continue;
        }
        const int pair = part.data.As<uint8_t>()[(j * in + i) / 2];
        const int zero = part.zeros.As<uint8_t>()[j * groups + i / weight.group_size];
        *values++ = static_cast<int8_t>((i % 2 == 0 ? pair & 15 : pair >> 4) - zero);
      }
    }
    std::memcpy(scales, part.scales.data, static_cast<size_t>(part.scales.NumBytes()));
    scales += part.scales.NumBytes();
  }
}

struct RoundedGroup {
  double scale = 0;
  std::vector<int8_t> q;
};

// x ~ q * scale; see Ops::Linear.
RoundedGroup RoundGroup(const float* x, int64_t n) {
  RoundedGroup group;
  group.q.assign(static_cast<size_t>(n), 0);
  float max = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) {
      group.scale = std::numeric_limits<double>::quiet_NaN();
      return group;
    }
    max = std::max(max, std::abs(x[i]));
  }
  // So small that the factor overflows counts as zero.
  const float factor = max > 0 ? 127.0F / max : std::numeric_limits<float>::infinity();
  if (std::isinf(factor)) return group;
  group.scale = max / 127.0;
  for (int64_t i = 0; i < n; ++i) {
    group.q[i] = static_cast<int8_t>(std::nearbyint(x[i] * factor));
  }
  return group;
}

// x ~ what is left in `x` times the scale returned; see Ops::Linear.
double RoundToE4M3(std::span<float> x) {
  float max = 0;
  bool finite = true;
  for (const float value : x) {
    finite = finite && std::isfinite(value);
    max = std::max(max, std::abs(value));
  }
  const float factor = max > 0 ? kE4M3Max / max : std::numeric_limits<float>::infinity();
  if (!finite || std::isinf(factor)) {
    std::fill(x.begin(), x.end(), 0.0F);
    return finite ? 0 : std::numeric_limits<double>::quiet_NaN();
  }
  for (float& value : x) value = E4M3ToF32(F32ToE4M3(value * factor));
  return max / double{kE4M3Max};
}

void IntegerRow(const float* row, const LinearWeight& weight, float* out) {
  const int64_t in = weight.in_features;
  const int64_t groups = Groups(weight);
  const int64_t size = in / groups;
  const auto* values = reinterpret_cast<const int8_t*>(weight.packed.data());
  const std::byte* scales = weight.packed.data() + weight.out_features * in;
  std::vector<RoundedGroup> rounded;
  for (int64_t g = 0; g < groups; ++g) rounded.push_back(RoundGroup(row + g * size, size));
  for (int64_t j = 0; j < weight.out_features; ++j) {
    double sum = weight.bias.size() > 0 ? Floats(weight.bias)[j] : 0.0;
    for (int64_t g = 0; g < groups; ++g) {
      int64_t products = 0;
      for (int64_t i = 0; i < size; ++i) {
        products += int64_t{rounded[g].q[i]} * values[j * in + g * size + i];
      }
      sum += static_cast<double>(products) * rounded[g].scale *
             LoadFloat(scales, DType::kF32, j * groups + g);
    }
    out[j] = static_cast<float>(sum);
  }
}

// Packed FP8: codes [out, in], then scales f32 [out, groups]. `row` is rounded in place
// when the weights ask for it.
void Fp8Row(std::span<float> row, const LinearWeight& weight, float* out) {
  const int64_t in = weight.in_features;
  const int64_t size = weight.group_size;
  const int64_t groups = in / size;
  std::vector<double> row_scales(static_cast<size_t>(groups), 1.0);
  for (int64_t g = 0; g < groups && weight.format == WeightFormat::kFp8; ++g) {
    row_scales[g] = RoundToE4M3(row.subspan(g * size, size));
  }
  const auto* codes = reinterpret_cast<const uint8_t*>(weight.packed.data());
  const std::byte* scales = weight.packed.data() + weight.out_features * in;
  for (int64_t j = 0; j < weight.out_features; ++j) {
    double sum = weight.bias.size() > 0 ? Floats(weight.bias)[j] : 0.0;
    for (int64_t g = 0; g < groups; ++g) {
      double products = 0;
      for (int64_t i = g * size; i < (g + 1) * size; ++i) {
        products += static_cast<double>(row[i]) * E4M3ToF32(codes[j * in + i]);
      }
      sum += products * row_scales[g] * LoadFloat(scales, DType::kF32, j * groups + g);
    }
    out[j] = static_cast<float>(sum);
  }
}

void FloatRow(const float* row, const LinearWeight& weight, float* out) {
  const int64_t in = weight.in_features;
  const DType dtype = FormatDType(weight.format);
  for (int64_t j = 0; j < weight.out_features; ++j) {
    double sum = weight.bias.size() > 0 ? Floats(weight.bias)[j] : 0.0;
    for (int64_t i = 0; i < in; ++i) {
      sum += static_cast<double>(row[i]) * LoadFloat(weight.packed.data(), dtype, j * in + i);
    }
    out[j] = static_cast<float>(sum);
  }
}

}  // namespace

bool RefOps::Supports(WeightFormat /*format*/) const { return true; }

// Packed floats: the parts' rows one after another, as they came.
StatusOr<LinearWeight> RefOps::Pack(std::span<const RawLinear> parts,
                                    std::span<const TensorView> bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, DescribeLinear(parts, bias));
  INFERD_ASSIGN_OR_RETURN(weight.bias, JoinBias(bias, files_, allocator_));
  const bool integer = IsInteger(weight.format);
  const int64_t scale_bytes = Groups(weight) * static_cast<int64_t>(sizeof(float));
  const int64_t in_bytes = integer ? weight.in_features + scale_bytes
                                   : weight.in_features * DTypeSize(FormatDType(weight.format)) +
                                         (IsFp8(weight.format) ? scale_bytes : 0);
  INFERD_ASSIGN_OR_RETURN(weight.packed,
                          Buffer::Create(allocator_, weight.out_features * in_bytes));
  if (integer) {
    UnpackIntegers(parts, weight);
    return weight;
  }
  std::byte* to = weight.packed.data();
  for (const RawLinear& part : parts) {
    std::memcpy(to, part.data.data, part.data.NumBytes());
    to += part.data.NumBytes();
  }
  if (!IsFp8(weight.format)) return weight;
  for (const RawLinear& part : parts) {
    std::memcpy(to, part.scales.data, part.scales.NumBytes());
    to += part.scales.NumBytes();
  }
  return weight;
}

void RefOps::Linear(TensorView x, const LinearWeight& weight, TensorView out) {
  const int64_t in = weight.in_features;
  CheckRows(x, x.dim(0), in);
  CheckRows(out, x.dim(0), weight.out_features);
  const bool round = round_rows_ && (weight.format == WeightFormat::kBF16 ||
                                     weight.format == WeightFormat::kFp8Weights);
  std::vector<float> row;
  for (int64_t t = 0; t < x.dim(0); ++t) {
    row.assign(x.As<float>() + t * in, x.As<float>() + (t + 1) * in);
    if (round) {
      for (float& value : row) value = BF16ToF32(F32ToBF16(value));
    }
    float* to = out.As<float>() + t * weight.out_features;
    if (IsFp8(weight.format)) {
      Fp8Row(row, weight, to);
    } else if (IsInteger(weight.format)) {
      IntegerRow(row.data(), weight, to);
    } else {
      FloatRow(row.data(), weight, to);
    }
  }
}

}  // namespace inferd
