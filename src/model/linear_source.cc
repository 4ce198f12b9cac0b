#include "model/linear_source.h"

#include <algorithm>

#include "model/quantization_decode.h"
#include "model/quantization_tensors.h"

namespace inferd::model {
namespace {

constexpr uint8_t kLargestZero = 15;

WeightFormat FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return WeightFormat::kF16;
    case DType::kBF16:
      return WeightFormat::kBF16;
    default:
      return WeightFormat::kF32;
  }
}

}  // namespace

std::string_view WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
  }
  return "";
}

StatusOr<SourcedLinear> LinearSource::Load(const std::string& name) {
  switch (StoredAs(config_, checkpoint_, name)) {
    case QuantMethod::kAwq:
      return LoadInt4(name, /*awq=*/true);
    case QuantMethod::kGptq:
      return LoadInt4(name, /*awq=*/false);
    case QuantMethod::kInt8:
      return LoadInt8(name);
    case QuantMethod::kNone:
      break;
  }
  return LoadFloat(name);
}

StatusOr<SourcedLinear> LinearSource::LoadFloat(const std::string& name) const {
  SourcedLinear linear;
  INFERD_ASSIGN_OR_RETURN(linear.raw.data, checkpoint_.View(name + ".weight"));
  linear.raw.format = FormatOf(linear.raw.data.dtype);
  return linear;
}

StatusOr<SourcedLinear> LinearSource::LoadInt8(const std::string& name) {
  SourcedLinear linear;
  linear.raw.format = WeightFormat::kInt8;
  INFERD_ASSIGN_OR_RETURN(linear.raw.data, checkpoint_.IntegerView(name + ".weight"));
  INFERD_RETURN_IF_ERROR(LoadScales(name + ".weight_scale", &linear));
  linear.raw.scales = TensorView(linear.scales.data(), DType::kF32, {linear.raw.data.dim(0)});
  return linear;
}

StatusOr<SourcedLinear> LinearSource::LoadInt4(const std::string& name, bool awq) {
  INFERD_ASSIGN_OR_RETURN(const TensorView qweight, checkpoint_.IntegerView(name + ".qweight"));
  INFERD_ASSIGN_OR_RETURN(const TensorView qzeros, checkpoint_.IntegerView(name + ".qzeros"));
  const int64_t in = awq ? qweight.dim(0) : qweight.dim(0) * 8;
  const int64_t out = awq ? qweight.dim(1) * 8 : qweight.dim(1);
  const int64_t groups = qzeros.dim(0);

  SourcedLinear linear;
  linear.raw.format = WeightFormat::kInt4;
  linear.raw.group_size = static_cast<int32_t>(in / groups);
  INFERD_ASSIGN_OR_RETURN(linear.data,
                          Buffer::Create(allocator_, static_cast<size_t>(out * in / 2)));
  linear.raw.data = TensorView(linear.data.data(), DType::kU8, {out, in / 2});
  auto* codes = linear.raw.data.As<uint8_t>();
  if (awq) {
    UnpackAwqCodes(qweight, codes);
  } else {
    UnpackGptqCodes(qweight, codes);
  }
  INFERD_RETURN_IF_ERROR(LoadScales(name + ".scales", &linear));
  linear.raw.scales = TensorView(linear.scales.data(), DType::kF32, {out, groups});

  INFERD_ASSIGN_OR_RETURN(linear.zeros,
                          Buffer::Create(allocator_, static_cast<size_t>(out * groups)));
  linear.raw.zeros = TensorView(linear.zeros.data(), DType::kU8, {out, groups});
  auto* zeros = linear.raw.zeros.As<uint8_t>();
  UnpackZeros(qzeros, awq ? NibbleOrder::kAwq : NibbleOrder::kPlain, zeros);
  if (!awq && config_.zeros_minus_one) {
    // Readers of this format disagree on what 15 stored means: 16, or 0.
    uint8_t largest = 0;
    for (int64_t i = 0; i < out * groups; ++i) largest = std::max(largest, zeros[i]++);
    if (largest == kLargestZero) {
      return FailedPreconditionError("tensor \"" + name +
                                     ".qzeros\": holds a zero point of 16, past the 4 bits");
    }
  }
  return linear;
}

// The scales of `linear`, each output's beside one another.
Status LinearSource::LoadScales(const std::string& name, SourcedLinear* linear) {
  INFERD_ASSIGN_OR_RETURN(const TensorView scales, checkpoint_.View(name));
  const auto bytes = static_cast<size_t>(scales.NumElements()) * sizeof(float);
  INFERD_ASSIGN_OR_RETURN(linear->scales, Buffer::Create(allocator_, bytes));
  TensorView stored = scales;
  // [out, 1] is in order already, as if one group of all outputs.
  if (linear->raw.format == WeightFormat::kInt8) stored.shape = {1, scales.dim(0)};
  if (!TransposeScales(stored, reinterpret_cast<float*>(linear->scales.data()))) {
    return FailedPreconditionError("tensor \"" + name + "\": holds a scale that is not finite");
  }
  return OkStatus();
}

}  // namespace inferd::model
