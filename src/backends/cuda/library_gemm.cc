// To the library matrices are column-major: W [outputs, inputs] by rows is a matrix
// [inputs, outputs] that is transposed, x is [inputs, rows], and out [outputs, rows].
#include "backends/cuda/library_gemm.h"

#include <bit>

namespace inferd {
namespace {

// One matrix's layout for the time of a call.
class Layout {
 public:
  Layout(cudaDataType type, int64_t rows, int64_t columns, int64_t leading) {
    code_ = cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(columns), leading);
  }
  ~Layout() {
    if (code_ == CUBLAS_STATUS_SUCCESS) (void)cublasLtMatrixLayoutDestroy(layout_);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  bool ok() const { return code_ == CUBLAS_STATUS_SUCCESS; }
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
  cublasStatus_t code_;
};

struct Layouts {
  Layouts(const LibraryGemm::Product& p, int32_t rows)
      : weights(In(p), Inputs(p), p.outputs, Inputs(p)),
        x(In(p), Inputs(p), rows, Inputs(p)),
        out(Out(p), p.outputs, rows, p.outputs) {}
  bool ok() const { return weights.ok() && x.ok() && out.ok(); }

  static cudaDataType In(const LibraryGemm::Product& p) {
    return p.kind == LibraryGemm::Kind::kBf16  ? CUDA_R_16BF
           : p.kind == LibraryGemm::Kind::kFp8 ? CUDA_R_8F_E4M3
                                               : CUDA_R_8I;
  }
  static cudaDataType Out(const LibraryGemm::Product& p) {
    return p.kind == LibraryGemm::Kind::kInt8 ? CUDA_R_32I : CUDA_R_32F;
  }
  static int64_t Inputs(const LibraryGemm::Product& p) {
    return p.kind == LibraryGemm::Kind::kBf16 ? p.row_bytes / 2 : p.row_bytes;
  }

  Layout weights;
  Layout x;
  Layout out;
};

Status LibraryError(cublasStatus_t code, const char* what) {
  return InternalError(std::string("cuda: cuBLASLt: ") + what + ": error " +
                       std::to_string(static_cast<int>(code)));
}

int32_t RoundRows(int32_t rows) {
  return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(rows)));
}

}  // namespace

StatusOr<std::unique_ptr<LibraryGemm>> LibraryGemm::Create(Device& device) {
  std::unique_ptr<LibraryGemm> gemm(new LibraryGemm(device));
  if (const cublasStatus_t code = cublasLtCreate(&gemm->handle_); code != CUBLAS_STATUS_SUCCESS) {
    gemm->handle_ = nullptr;
    return LibraryError(code, "starting");
  }
  return gemm;
}

LibraryGemm::~LibraryGemm() {
  for (auto& [key, plan] : plans_) (void)cublasLtMatmulDescDestroy(plan.operation);
  if (handle_ != nullptr) (void)cublasLtDestroy(handle_);
  if (workspace_ != nullptr) device_.Free(workspace_, kWorkspaceBytes);
}

std::string LibraryGemm::Version() const { return std::to_string(cublasLtGetVersion()); }

StatusOr<LibraryGemm::Plan> LibraryGemm::Look(const Product& product, int32_t rows) {
  const bool floats = product.kind != Kind::kInt8;
  Plan plan;
  cublasStatus_t code =
      cublasLtMatmulDescCreate(&plan.operation, floats ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32I,
                               floats ? CUDA_R_32F : CUDA_R_32I);
  if (code != CUBLAS_STATUS_SUCCESS) return LibraryError(code, "an operation");
  const auto failed = [&](const char* what) {
    (void)cublasLtMatmulDescDestroy(plan.operation);
    return LibraryError(code, what);
  };
  const cublasOperation_t transposed = CUBLAS_OP_T;
  code = cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                        sizeof(transposed));
  if (code != CUBLAS_STATUS_SUCCESS) return failed("an operation");
  const Layouts layouts(product, rows);
  cublasLtMatmulPreference_t preference = nullptr;
  code = cublasLtMatmulPreferenceCreate(&preference);
  if (code != CUBLAS_STATUS_SUCCESS || !layouts.ok()) return failed("a layout");
  code = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  if (code == CUBLAS_STATUS_SUCCESS) {
    code = cublasLtMatmulAlgoGetHeuristic(handle_, plan.operation, layouts.weights.get(),
                                          layouts.x.get(), layouts.out.get(), layouts.out.get(),
                                          preference, 1, &found, &count);
  }
  (void)cublasLtMatmulPreferenceDestroy(preference);
  if (code != CUBLAS_STATUS_SUCCESS || count == 0) return failed("no algorithm");
  plan.algorithm = found.algo;
  plan.workspace_bytes = found.workspaceSize;
  return plan;
}

Status LibraryGemm::Prepare(const Product& product) {
  if (workspace_ == nullptr) {
    workspace_ = device_.Allocate(kWorkspaceBytes, ArenaMap::kUnit);
    if (workspace_ == nullptr) return ResourceExhaustedError("cuda: no room for a workspace");
  }
  const int32_t rows = RoundRows(product.rows);
  const Key key{product.kind, rows, product.outputs, product.row_bytes, product.accumulate};
  if (plans_.contains(key)) return OkStatus();
  INFERD_ASSIGN_OR_RETURN(const Plan plan, Look(product, rows));
  plans_.emplace(key, plan);
  return OkStatus();
}

void LibraryGemm::Multiply(const Product& product) {
  if (Status status = Prepare(product); !status.ok()) return device_.Fail(status);
  const Plan& plan = plans_.at(Key{product.kind, RoundRows(product.rows), product.outputs,
                                   product.row_bytes, product.accumulate});
  const Layouts layouts(product, product.rows);
  if (!layouts.ok()) return device_.Fail(InternalError("cuda: cuBLASLt: a layout"));
  const float one = 1.0F;
  const float beta = product.accumulate ? 1.0F : 0.0F;
  const int32_t int_one = 1;
  const int32_t int_zero = 0;
  const bool floats = product.kind != Kind::kInt8;
  const cublasStatus_t code =
      cublasLtMatmul(handle_, plan.operation, floats ? static_cast<const void*>(&one) : &int_one,
                     product.weights, layouts.weights.get(), product.x, layouts.x.get(),
                     floats ? static_cast<const void*>(&beta) : &int_zero, product.out,
                     layouts.out.get(), product.out, layouts.out.get(), &plan.algorithm, workspace_,
                     plan.workspace_bytes, device_.stream());
  if (code != CUBLAS_STATUS_SUCCESS) device_.Fail(LibraryError(code, "a product"));
}

}  // namespace inferd
