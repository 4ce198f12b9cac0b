// Ops::Linear: rows are brought into the form that the weights' kernel takes, in the
// scratch memory, as many at a time as fit there, and multiplied.
#include <algorithm>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "cuda/linear.h"

namespace inferd {
namespace {

// Up to here our own kernels are bound by the bytes of the weights.
constexpr int64_t kSkinnyRows = LibraryGemm::kLeastRows - 1;
// What the library's integer products want of the number of outputs.
constexpr int64_t kLibraryOutputs = 16;

// The first with tensor cores that take FP8.
constexpr int kFp8Capability = 89;

int64_t Groups(const LinearWeight& weight) {
  return weight.group_size > 0 ? weight.in_features / weight.group_size : 1;
}

const float* BiasOf(const LinearWeight& weight) {
  return weight.bias.size() > 0 ? Floats(weight.bias) : nullptr;
}

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

}  // namespace

// Bytes of a row in the form of the weight's kernel, scales included.
int64_t CudaOps::PreparedRowBytes(const LinearWeight& weight) const {
  const int64_t in = weight.in_features;
  const auto scale_bytes = static_cast<int64_t>(sizeof(float));
  switch (weight.format) {
    case WeightFormat::kBF16:
      return terms_ * cuda::Bf16RowBytes(in);
    case WeightFormat::kInt8:
      return cuda::Int8RowBytes(in) + scale_bytes;
    case WeightFormat::kInt4:
      return cuda::Int4RowBytes(in) + Groups(weight) * scale_bytes;
    case WeightFormat::kFp8:
      return 2 * cuda::Fp8RowBytes(in) + Groups(weight) * scale_bytes;
    case WeightFormat::kFp8Weights:
      return terms_ * 2 * cuda::Fp8RowBytes(in);
    default:
      return 0;
  }
}

bool CudaOps::UsesLibrary(const LinearWeight& weight, int64_t rows) const {
  if (rows <= kSkinnyRows) return false;
  if (weight.format == WeightFormat::kFp8) {
    return device_->compute_capability() >= kFp8Capability && Groups(weight) == 1 &&
           weight.out_features % kLibraryOutputs == 0;
  }
  return weight.format == WeightFormat::kBF16 ||
         (weight.format == WeightFormat::kInt8 && weight.out_features % kLibraryOutputs == 0);
}

void CudaOps::NoteShape(const LinearWeight& weight) {
  if (!UsesLibrary(weight, LibraryGemm::kLeastRows)) return;
  LibraryGemm::Product shape;
  shape.kind = weight.format == WeightFormat::kBF16   ? LibraryGemm::Kind::kBf16
               : weight.format == WeightFormat::kInt8 ? LibraryGemm::Kind::kInt8
                                                      : LibraryGemm::Kind::kFp8;
  shape.outputs = Int(weight.out_features);
  shape.row_bytes = Int(FormOf(weight).row_bytes);
  widest_row_ = std::max(widest_row_, PreparedRowBytes(weight));
  for (const LibraryGemm::Product& known : library_shapes_) {
    if (known.kind == shape.kind && known.outputs == shape.outputs &&
        known.row_bytes == shape.row_bytes) {
      return;
    }
  }
  library_shapes_.push_back(shape);
}

// Between the weights and the cache, whose memory is still free. The scratch memory has
// room for a step's rows of the widest matrix.
void CudaOps::TuneProducts() {
  if (scratch_.data == nullptr) return;
  constexpr int64_t kMostRows = 8192;
  const int64_t rows = std::min(scratch_.dim(0) / widest_row_, kMostRows);
  library_->Tune(library_shapes_, Int(rows),
                 {scratch_.As<std::byte>(), static_cast<size_t>(scratch_.dim(0))});
}

void CudaOps::Linear(TensorView x, const LinearWeight& weight, TensorView out) {
  CheckRows(x, x.dim(0), weight.in_features);
  CheckRows(out, x.dim(0), weight.out_features);
  if (!Begins(Op::kLinear, {x, out}, weight.packed.data(), {weight.in_features})) return;
  const int64_t row_bytes = PreparedRowBytes(weight);
  // Parts of the scratch memory begin at vectors.
  const int64_t room =
      (scratch_.data == nullptr ? 0 : scratch_.dim(0)) - 2 * static_cast<int64_t>(ArenaMap::kUnit);
  const int64_t at_once = row_bytes == 0 ? x.dim(0) : room / row_bytes;
  INFERD_CHECK(at_once > 0 || x.dim(0) == 0);
  for (int64_t first = 0; first < x.dim(0); first += at_once) {
    const int64_t rows = std::min(at_once, x.dim(0) - first);
    LinearPiece(x.Rows(first, rows), weight, out.Rows(first, rows));
  }
}

void CudaOps::LinearPiece(TensorView x, const LinearWeight& weight, TensorView out) {
  if (!Running()) return;
  const PackedForm form = FormOf(weight);
  const int32_t rows = Int(x.dim(0));
  const int32_t outputs = Int(weight.out_features);
  const int32_t inputs = Int(weight.in_features);
  const cudaStream_t stream = device_->stream();
  const bool library = UsesLibrary(weight, rows);
  auto* values = scratch_.As<std::byte>();

  if (weight.format == WeightFormat::kF32 || weight.format == WeightFormat::kF16) {
    return Launched(cuda::LinearFloat({.x = x.As<float>(),
                                       .weights = weight.packed.data(),
                                       .bias = BiasOf(weight),
                                       .out = out.As<float>(),
                                       .rows = rows,
                                       .outputs = outputs,
                                       .inputs = inputs,
                                       .half = weight.format == WeightFormat::kF16},
                                      stream),
                    "a product");
  }

  if (weight.format == WeightFormat::kBF16 && terms_ == 1 && cuda::TakesFloatRows(rows, inputs)) {
    return Launched(cuda::LinearBf16Rows({.x = x.As<float>(),
                                          .weights = weight.packed.data(),
                                          .bias = BiasOf(weight),
                                          .out = out.As<float>(),
                                          .rows = rows,
                                          .outputs = outputs,
                                          .inputs = inputs},
                                         stream),
                    "a product");
  }

  if (weight.format == WeightFormat::kBF16) {
    const int32_t padded = Int(form.row_bytes / 2);
    Launched(cuda::SplitToBf16({.x = x.As<float>(),
                                .planes = reinterpret_cast<uint16_t*>(values),
                                .rows = rows,
                                .inputs = inputs,
                                .padded = padded,
                                .terms = terms_},
                               stream),
             "rounding rows");
    if (!Running()) return;
    if (!library) {
      return Launched(cuda::LinearBf16({.x = values,
                                        .weights = weight.packed.data(),
                                        .bias = BiasOf(weight),
                                        .out = out.As<float>(),
                                        .rows = rows,
                                        .outputs = outputs,
                                        .row_bytes = Int(form.row_bytes),
                                        .terms = terms_},
                                       stream),
                      "a product");
    }
    for (int term = 0; term < terms_; ++term) {
      library_->Multiply({.kind = LibraryGemm::Kind::kBf16,
                          .x = values + int64_t{term} * rows * form.row_bytes,
                          .weights = weight.packed.data(),
                          .out = out.data,
                          .rows = rows,
                          .outputs = outputs,
                          .row_bytes = Int(form.row_bytes),
                          .accumulate = term > 0});
    }
    if (weight.bias.size() == 0 || !Running()) return;
    return Launched(
        cuda::AddBias(
            {.out = out.As<float>(), .bias = Floats(weight.bias), .rows = rows, .outputs = outputs},
            stream),
        "a bias");
  }

  if (IsFp8(weight.format)) return Fp8Piece(x, weight, out);

  const bool four = weight.format == WeightFormat::kInt4;
  const int64_t x_row_bytes = four ? cuda::Int4RowBytes(inputs) : cuda::Int8RowBytes(inputs);
  auto* scales = reinterpret_cast<float*>(
      values + cuda::RoundUp(rows * x_row_bytes, static_cast<int64_t>(ArenaMap::kUnit)));
  Launched(cuda::QuantizeRows({.x = x.As<float>(),
                               .q = reinterpret_cast<int8_t*>(values),
                               .scales = scales,
                               .rows = rows,
                               .inputs = inputs,
                               .padded = Int(x_row_bytes),
                               .group = four ? weight.group_size : inputs},
                              stream),
           "rounding rows");
  if (!Running()) return;
  const std::byte* packed = weight.packed.data();
  const auto* weight_scales = reinterpret_cast<const float*>(packed + form.scales_at);
  if (four) {
    const auto multiply = rows > kSkinnyRows ? cuda::LinearInt4Tiles : cuda::LinearInt4;
    return Launched(multiply({.x = values,
                              .x_scales = scales,
                              .weights = packed,
                              .weight_scales = weight_scales,
                              .zeros = reinterpret_cast<const uint8_t*>(packed + form.zeros_at),
                              .bias = BiasOf(weight),
                              .out = out.As<float>(),
                              .rows = rows,
                              .outputs = outputs,
                              .inputs = inputs,
                              .group = weight.group_size},
                             stream),
                    "a product");
  }
  const cuda::LinearInt8Params params = {.x = values,
                                         .x_scales = scales,
                                         .weights = packed,
                                         .weight_scales = weight_scales,
                                         .bias = BiasOf(weight),
                                         .out = out.As<float>(),
                                         .rows = rows,
                                         .outputs = outputs,
                                         .row_bytes = Int(form.row_bytes)};
  if (!library) return Launched(cuda::LinearInt8(params, stream), "a product");
  library_->Multiply({.kind = LibraryGemm::Kind::kInt8,
                      .x = values,
                      .weights = packed,
                      .out = out.data,
                      .rows = rows,
                      .outputs = outputs,
                      .row_bytes = Int(form.row_bytes),
                      .accumulate = false});
  if (Running()) Launched(cuda::ScaleInt8Sums(params, stream), "scaling a product");
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
  const int64_t value_bytes = int64_t{rows} * padded * 2;
  auto* scales = reinterpret_cast<float*>(
      values + cuda::RoundUp(value_bytes, static_cast<int64_t>(ArenaMap::kUnit)));
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
      .terms = rounds ? 1 : terms_};
  if (!library) return Launched(cuda::LinearFp8(params, stream), "a product");
  library_->Multiply({.kind = LibraryGemm::Kind::kFp8,
                      .x = values,
                      .weights = packed,
                      .out = out.data,
                      .rows = rows,
                      .outputs = params.outputs,
                      .row_bytes = padded,
                      .accumulate = false});
  if (Running()) Launched(cuda::ScaleFp8Sums(params, stream), "scaling a product");
}

}  // namespace inferd
