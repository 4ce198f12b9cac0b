#include "quantize/output_error.h"

#include <algorithm>

namespace inferd::quantize {

StatusOr<double> OutputError::Of(const InputSample& sample, Matrix& difference) {
  INFERD_CHECK(sample.features() == difference.in);
  RawLinear raw;
  raw.format = WeightFormat::kF32;
  raw.data = TensorView(difference.values.data(), DType::kF32, {difference.out, difference.in});
  INFERD_ASSIGN_OR_RETURN(const LinearWeight packed, ops_.Pack({&raw, 1}, {}));
  const auto bytes = static_cast<size_t>(max_rows_ * difference.out) * sizeof(float);
  if (outputs_.size() < bytes) {
    INFERD_ASSIGN_OR_RETURN(outputs_, Buffer::Create(ops_.allocator(), bytes));
  }
  double sum = 0;
  for (int64_t first = 0; first < sample.num_rows(); first += max_rows_) {
    const int64_t rows = std::min(max_rows_, sample.num_rows() - first);
    const TensorView x(const_cast<float*>(sample.row(first)), DType::kF32, {rows, difference.in});
    const TensorView out(outputs_.data(), DType::kF32, {rows, difference.out});
    ops_.Linear(x, packed, out);
    INFERD_RETURN_IF_ERROR(ops_.Finish());
    for (int64_t r = 0; r < rows; ++r) {
      double row = 0;
      const float* values = out.As<const float>() + r * difference.out;
      for (int64_t o = 0; o < difference.out; ++o) row += double{values[o]} * values[o];
      sum += row;
    }
  }
  return sum;
}

}  // namespace inferd::quantize
