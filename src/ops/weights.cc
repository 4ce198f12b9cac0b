#include "inferd/ops/weights.h"

namespace inferd {

DType FormatDType(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return DType::kF32;
    case WeightFormat::kF16:
      return DType::kF16;
    case WeightFormat::kBF16:
      return DType::kBF16;
    case WeightFormat::kInt8:
      return DType::kI8;
    case WeightFormat::kInt4:
      return DType::kU8;
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Weights:
      return DType::kF8E4M3;
  }
  INFERD_CHECK(false);
}

}  // namespace inferd
