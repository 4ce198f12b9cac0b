#include "quantize/matrix.h"

#include <cmath>
#include <cstring>

namespace inferd::quantize {
namespace {

uint16_t Bits16(DType dtype, float value) {
  return dtype == DType::kF16 ? F32ToF16(value) : F32ToBF16(value);
}

}  // namespace

StatusOr<std::vector<float>> ReadFloats(const Checkpoint& checkpoint, const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const TensorView view, checkpoint.View(name));
  std::vector<float> values(static_cast<size_t>(view.NumElements()));
  if (view.dtype == DType::kF32) {
    std::memcpy(values.data(), view.data, static_cast<size_t>(view.NumBytes()));
  } else {
    const auto* from = view.As<const uint16_t>();
    const bool f16 = view.dtype == DType::kF16;
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = f16 ? F16ToF32(from[i]) : BF16ToF32(from[i]);
    }
  }
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return FailedPreconditionError("tensor \"" + name + "\": holds a value that is not finite");
    }
  }
  return values;
}

StatusOr<Matrix> ReadMatrix(const Checkpoint& checkpoint, const std::string& name) {
  const std::string full = name + ".weight";
  Matrix matrix;
  INFERD_ASSIGN_OR_RETURN(matrix.values, ReadFloats(checkpoint, full));
  const TensorFacts* facts = checkpoint.Find(full);
  INFERD_CHECK(facts != nullptr && facts->shape.size() == 2);
  matrix.out = facts->shape[0];
  matrix.in = facts->shape[1];
  return matrix;
}

float RoundTo(DType dtype, float value) {
  if (dtype == DType::kF32) return value;
  const uint16_t bits = Bits16(dtype, value);
  return dtype == DType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
}

void AppendAs(DType dtype, float value, std::string* bytes) {
  if (dtype == DType::kF32) {
    bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
    return;
  }
  const uint16_t bits = Bits16(dtype, value);
  bytes->append(reinterpret_cast<const char*>(&bits), sizeof(bits));
}

}  // namespace inferd::quantize
