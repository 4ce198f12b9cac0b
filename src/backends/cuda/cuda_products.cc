// The products of Ops::Linear, one function a form of weights. Each brings rows of x into the
// form that its kernel takes, in the scratch memory, and multiplies: few rows by kernels of ours,
// which are bound by the bytes of the weights, many by the library where it has such products.
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/tensor_checks.h"
#include "cuda/linear.h"

namespace inferd {
namespace {

const float* BiasOf(const LinearWeight& weight) {
  return weight.bias.size() > 0 ? Floats(weight.bias) : nullptr;
}

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

// Behind `bytes` of values in the scratch memory.
float* ScalesBehind(std::byte* values, int64_t bytes) {
  return reinterpret_cast<float*>(values +
                                  cuda::RoundUp(bytes, static_cast<int64_t>(ArenaMap::kUnit)));
}

}  // namespace

LibraryGemm::Kind CudaOps::LibraryKind(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF16:
      return LibraryGemm::Kind::kF16;
    case WeightFormat::kInt8:
      return LibraryGemm::Kind::kInt8;
    case WeightFormat::kFp8:
      return LibraryGemm::Kind::kFp8;
    default:
      return LibraryGemm::Kind::kBf16;
  }
}

void CudaOps::LinearPiece(TensorView x, const LinearWeight& weight, TensorView out) {
  if (!Running()) return;
  switch (weight.format) {
    case WeightFormat::kF32:
      return FloatPiece(x, weight, out);
    case WeightFormat::kBF16:
      return Bf16Piece(x, weight, out);
    case WeightFormat::kF16:
      return HalfPiece(x, weight, out);
    case WeightFormat::kInt8:
      return Int8Piece(x, weight, out);
    case WeightFormat::kInt4:
      return Int4Piece(x, weight, out);
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Weights:
      return Fp8Piece(x, weight, out);
  }
}

// out = the sum over `terms` planes of rows in `values`, each of `row_bytes`, times the weights.
void CudaOps::LibraryProduct(const LinearWeight& weight, const std::byte* values, int32_t row_bytes,
                             int terms, TensorView out) {
  const int32_t rows = Int(out.dim(0));
  for (int term = 0; term < terms; ++term) {
    library_->Multiply({.kind = LibraryKind(weight.format),
                        .x = values + int64_t{term} * rows * row_bytes,
                        .weights = weight.packed.data(),
                        .out = out.data,
                        .rows = rows,
                        .outputs = Int(weight.out_features),
                        .row_bytes = row_bytes,
                        .accumulate = term > 0});
  }
}

void CudaOps::FloatPiece(TensorView x, const LinearWeight& weight, TensorView out) {
  Launched(cuda::LinearFloat({.x = x.As<float>(),
                              .weights = reinterpret_cast<const float*>(weight.packed.data()),
                              .bias = BiasOf(weight),
                              .out = out.As<float>(),
                              .rows = Int(x.dim(0)),
                              .outputs = Int(weight.out_features),
                              .inputs = Int(weight.in_features)},
                             device_->stream()),
           "a product");
}

void CudaOps::Bf16Piece(TensorView x, const LinearWeight& weight, TensorView out) {
  const int32_t rows = Int(x.dim(0));
  const int32_t inputs = Int(weight.in_features);
  const int32_t row_bytes = Int(FormOf(weight).row_bytes);
  const cudaStream_t stream = device_->stream();
  if (terms_ == 1 && cuda::TakesFloatRows(rows, inputs)) {
    return Launched(cuda::LinearBf16Rows({.x = x.As<float>(),
                                          .weights = weight.packed.data(),
                                          .bias = BiasOf(weight),
                                          .out = out.As<float>(),
                                          .rows = rows,
                                          .outputs = Int(weight.out_features),
                                          .inputs = inputs},
                                         stream),
                    "a product");
  }
  auto* const values = scratch_.As<std::byte>();
  Launched(cuda::SplitToBf16({.x = x.As<float>(),
                              .planes = reinterpret_cast<uint16_t*>(values),
                              .rows = rows,
                              .inputs = inputs,
                              .padded = row_bytes / 2,
                              .terms = terms_},
                             stream),
           "rounding rows");
  if (!Running()) return;
  if (!UsesLibrary(weight, rows)) {
    return Launched(cuda::LinearBf16({.x = values,
                                      .weights = weight.packed.data(),
                                      .bias = BiasOf(weight),
                                      .out = out.As<float>(),
                                      .rows = rows,
                                      .outputs = Int(weight.out_features),
                                      .row_bytes = row_bytes,
                                      .terms = terms_,
                                      .max_shared_bytes = device_->max_shared_bytes()},
                                     stream),
                    "a product");
  }
  LibraryProduct(weight, values, row_bytes, terms_, out);
  if (weight.bias.size() == 0 || !Running()) return;
  Launched(cuda::AddBias({.out = out.As<float>(),
                          .bias = BiasOf(weight),
                          .rows = rows,
                          .outputs = Int(weight.out_features)},
                         stream),
           "a bias");
}

void CudaOps::HalfPiece(TensorView x, const LinearWeight& weight, TensorView out) {
  const int32_t rows = Int(x.dim(0));
  const int32_t row_bytes = Int(FormOf(weight).row_bytes);
  const cudaStream_t stream = device_->stream();
  auto* const values = scratch_.As<std::byte>();
  float* const scales = ScalesBehind(values, int64_t{terms_} * rows * row_bytes);
  Launched(cuda::SplitToHalf({.x = x.As<float>(),
                              .planes = reinterpret_cast<uint16_t*>(values),
                              .scales = scales,
                              .rows = rows,
                              .inputs = Int(weight.in_features),
                              .padded = row_bytes / 2,
                              .terms = terms_},
                             stream),
           "rounding rows");
  if (!Running()) return;
  const cuda::LinearHalfParams params = {.x = values,
                                         .x_scales = scales,
                                         .weights = weight.packed.data(),
                                         .bias = BiasOf(weight),
                                         .out = out.As<float>(),
                                         .rows = rows,
                                         .outputs = Int(weight.out_features),
                                         .row_bytes = row_bytes,
                                         .terms = terms_,
                                         .max_shared_bytes = device_->max_shared_bytes()};
  if (!UsesLibrary(weight, rows)) return Launched(cuda::LinearHalf(params, stream), "a product");
  LibraryProduct(weight, values, row_bytes, terms_, out);
  if (Running()) Launched(cuda::ScaleHalfSums(params, stream), "scaling a product");
}

void CudaOps::Int8Piece(TensorView x, const LinearWeight& weight, TensorView out) {
  const PackedForm form = FormOf(weight);
  const int32_t rows = Int(x.dim(0));
  const int32_t row_bytes = Int(form.row_bytes);
  auto* const values = scratch_.As<std::byte>();
  float* const scales = ScalesBehind(values, int64_t{rows} * row_bytes);
  RoundToInt8(x, row_bytes, Int(weight.in_features), values, scales);
  if (!Running()) return;
  const std::byte* const packed = weight.packed.data();
  const cuda::LinearInt8Params params = {
      .x = values,
      .x_scales = scales,
      .weights = packed,
      .weight_scales = reinterpret_cast<const float*>(packed + form.scales_at),
      .bias = BiasOf(weight),
      .out = out.As<float>(),
      .rows = rows,
      .outputs = Int(weight.out_features),
      .row_bytes = row_bytes,
      .max_shared_bytes = device_->max_shared_bytes()};
  const cudaStream_t stream = device_->stream();
  if (!UsesLibrary(weight, rows)) return Launched(cuda::LinearInt8(params, stream), "a product");
  LibraryProduct(weight, values, row_bytes, 1, out);
  if (Running()) Launched(cuda::ScaleInt8Sums(params, stream), "scaling a product");
}

void CudaOps::Int4Piece(TensorView x, const LinearWeight& weight, TensorView out) {
  const PackedForm form = FormOf(weight);
  const int32_t rows = Int(x.dim(0));
  const int32_t x_row_bytes = Int(cuda::Int4RowBytes(weight.in_features));
  auto* const values = scratch_.As<std::byte>();
  float* const scales = ScalesBehind(values, int64_t{rows} * x_row_bytes);
  RoundToInt8(x, x_row_bytes, weight.group_size, values, scales);
  if (!Running()) return;
  const std::byte* const packed = weight.packed.data();
  const bool few = rows < LibraryGemm::kLeastRows || batch_invariant_;
  const auto multiply = few ? cuda::LinearInt4 : cuda::LinearInt4Tiles;
  Launched(multiply({.x = values,
                     .x_scales = scales,
                     .weights = packed,
                     .weight_scales = reinterpret_cast<const float*>(packed + form.scales_at),
                     .zeros = reinterpret_cast<const uint8_t*>(packed + form.zeros_at),
                     .bias = BiasOf(weight),
                     .out = out.As<float>(),
                     .rows = rows,
                     .outputs = Int(weight.out_features),
                     .inputs = Int(weight.in_features),
                     .group = weight.group_size,
                     .max_shared_bytes = device_->max_shared_bytes()},
                    device_->stream()),
           "a product");
}

void CudaOps::RoundToInt8(TensorView x, int32_t row_bytes, int32_t group, std::byte* values,
                          float* scales) {
  Launched(cuda::QuantizeRows({.x = x.As<float>(),
                               .q = reinterpret_cast<int8_t*>(values),
                               .scales = scales,
                               .rows = Int(x.dim(0)),
                               .inputs = Int(x.dim(1)),
                               .padded = row_bytes,
                               .group = group},
                              device_->stream()),
           "rounding rows");
}

// The library takes E4M3 rows; our own kernel takes them, or what was not rounded, as bf16.
void CudaOps::Fp8Piece(TensorView x, const LinearWeight& weight, TensorView out) {
  const PackedForm form = FormOf(weight);
  const int32_t rows = Int(x.dim(0));
  const int32_t inputs = Int(weight.in_features);
  const int32_t padded = Int(cuda::Fp8RowBytes(inputs));
  const cudaStream_t stream = device_->stream();
  const bool library = UsesLibrary(weight, rows);
  const bool rounds = weight.format == WeightFormat::kFp8;
  auto* values = scratch_.As<std::byte>();
  float* const scales = ScalesBehind(values, int64_t{rows} * padded * 2);
  if (rounds) {
    Launched(cuda::QuantizeRowsFp8({.x = x.As<float>(),
                                    .q = values,
                                    .scales = scales,
                                    .rows = rows,
                                    .inputs = inputs,
                                    .padded = padded,
                                    .group = weight.group_size,
                                    .wide = !library},
                                   stream),
             "rounding rows");
  } else {
    Launched(cuda::SplitToBf16({.x = x.As<float>(),
                                .planes = reinterpret_cast<uint16_t*>(values),
                                .rows = rows,
                                .inputs = inputs,
                                .padded = padded,
                                .terms = terms_},
                               stream),
             "rounding rows");
  }
  if (!Running()) return;
  const std::byte* packed = weight.packed.data();
  const cuda::LinearFp8Params params = {
      .x = values,
      .x_scales = rounds ? scales : nullptr,
      .weights = packed,
      .weight_scales = reinterpret_cast<const float*>(packed + form.scales_at),
      .bias = BiasOf(weight),
      .out = out.As<float>(),
      .rows = rows,
      .outputs = Int(weight.out_features),
      .inputs = inputs,
      .group = weight.group_size,
      .terms = rounds ? 1 : terms_,
      .max_shared_bytes = device_->max_shared_bytes()};
  if (!library) return Launched(cuda::LinearFp8(params, stream), "a product");
  LibraryProduct(weight, values, padded, 1, out);
  if (Running()) Launched(cuda::ScaleFp8Sums(params, stream), "scaling a product");
}

}  // namespace inferd
