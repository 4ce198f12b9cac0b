// Ops::Linear: as many rows at a time as fit, in the form of the weights' kernel, into the scratch
// memory. Which products the library has, and what is prepared for them at load. The products
// themselves are in cuda_products.cc.
#include <algorithm>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/cuda_weights.h"
#include "backends/host/tensor_checks.h"
#include "cuda/linear.h"

namespace inferd {
namespace {

// What the library's integer products want of the number of outputs.
constexpr int64_t kLibraryOutputs = 16;

// The first with tensor cores that take FP8.
constexpr int kFp8Capability = 89;

int64_t Groups(const LinearWeight& weight) {
  return weight.group_size > 0 ? weight.in_features / weight.group_size : 1;
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
    case WeightFormat::kF16:
      return terms_ * cuda::HalfRowBytes(in) + scale_bytes;
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
  if (rows < LibraryGemm::kLeastRows || batch_invariant_) return false;
  if (weight.format == WeightFormat::kFp8) {
    return device_->compute_capability() >= kFp8Capability && Groups(weight) == 1 &&
           weight.out_features % kLibraryOutputs == 0;
  }
  return weight.format == WeightFormat::kBF16 || weight.format == WeightFormat::kF16 ||
         (weight.format == WeightFormat::kInt8 && weight.out_features % kLibraryOutputs == 0);
}

void CudaOps::NoteShape(const LinearWeight& weight) {
  if (!UsesLibrary(weight, LibraryGemm::kLeastRows)) return;
  LibraryGemm::Product shape;
  shape.kind = LibraryKind(weight.format);
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

}  // namespace inferd
