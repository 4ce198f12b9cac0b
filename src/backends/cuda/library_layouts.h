// To the library matrices are column-major: W [outputs, inputs] by rows is a matrix
// [inputs, outputs] that is transposed, x is [inputs, rows], and out [outputs, rows].
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "backends/cuda/library_gemm.h"

namespace inferd {

// One matrix's layout for the time of a call.
class LibraryLayout {
 public:
  LibraryLayout(cudaDataType type, int64_t rows, int64_t columns, int64_t leading) {
    code_ = cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(columns), leading);
  }
  ~LibraryLayout() {
    if (code_ == CUBLAS_STATUS_SUCCESS) (void)cublasLtMatrixLayoutDestroy(layout_);
  }
  LibraryLayout(const LibraryLayout&) = delete;
  LibraryLayout& operator=(const LibraryLayout&) = delete;
  bool ok() const { return code_ == CUBLAS_STATUS_SUCCESS; }
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
  cublasStatus_t code_;
};

// Those of a product.
struct LibraryLayouts {
  LibraryLayouts(const LibraryGemm::Product& p, int32_t rows)
      : weights(In(p), Inputs(p), p.outputs, Inputs(p)),
        x(In(p), Inputs(p), rows, Inputs(p)),
        out(Out(p), p.outputs, rows, p.outputs) {}
  bool ok() const { return weights.ok() && x.ok() && out.ok(); }

  static cudaDataType In(const LibraryGemm::Product& p) {
    switch (p.kind) {
      case LibraryGemm::Kind::kBf16:
        return CUDA_R_16BF;
      case LibraryGemm::Kind::kF16:
        return CUDA_R_16F;
      case LibraryGemm::Kind::kFp8:
        return CUDA_R_8F_E4M3;
      case LibraryGemm::Kind::kInt8:
        break;
    }
    return CUDA_R_8I;
  }
  static cudaDataType Out(const LibraryGemm::Product& p) {
    return p.kind == LibraryGemm::Kind::kInt8 ? CUDA_R_32I : CUDA_R_32F;
  }
  static int64_t Inputs(const LibraryGemm::Product& p) {
    const bool two = p.kind == LibraryGemm::Kind::kBf16 || p.kind == LibraryGemm::Kind::kF16;
    return two ? p.row_bytes / 2 : p.row_bytes;
  }

  LibraryLayout weights;
  LibraryLayout x;
  LibraryLayout out;
};

}  // namespace inferd
