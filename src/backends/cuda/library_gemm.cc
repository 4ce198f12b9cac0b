#include "backends/cuda/library_gemm.h"

#include <bit>

#include "backends/cuda/library_layouts.h"

namespace inferd {
namespace {

Status LibraryError(cublasStatus_t code, const char* what) {
  return InternalError(std::string("cuda: cuBLASLt: ") + what + ": error " +
                       std::to_string(static_cast<int>(code)));
}

}  // namespace

StatusOr<std::unique_ptr<LibraryGemm>> LibraryGemm::Create(Device& device,
                                                           const std::filesystem::path& directory) {
  std::unique_ptr<LibraryGemm> gemm(new LibraryGemm(device));
  gemm->file_ = AlgorithmFile(directory, device.name(), gemm->Version());
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

int32_t LibraryGemm::RoundRows(int32_t rows) {
  return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(rows)));
}

StatusOr<cublasLtMatmulDesc_t> LibraryGemm::MakeOperation(const Product& product) const {
  const bool floats = product.kind != Kind::kInt8;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasStatus_t code =
      cublasLtMatmulDescCreate(&operation, floats ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32I,
                               floats ? CUDA_R_32F : CUDA_R_32I);
  if (code != CUBLAS_STATUS_SUCCESS) return LibraryError(code, "an operation");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  code = cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                        sizeof(transposed));
  if (code == CUBLAS_STATUS_SUCCESS) return operation;
  (void)cublasLtMatmulDescDestroy(operation);
  return LibraryError(code, "an operation");
}

StatusOr<LibraryGemm::Plan> LibraryGemm::Look(
    const Product& product, int32_t rows, std::span<cublasLtMatmulHeuristicResult_t> found) const {
  Plan plan;
  INFERD_ASSIGN_OR_RETURN(plan.operation, MakeOperation(product));
  const auto failed = [&](cublasStatus_t code, const char* what) {
    (void)cublasLtMatmulDescDestroy(plan.operation);
    return LibraryError(code, what);
  };
  const LibraryLayouts layouts(product, rows);
  cublasLtMatmulPreference_t preference = nullptr;
  cublasStatus_t code = cublasLtMatmulPreferenceCreate(&preference);
  if (code != CUBLAS_STATUS_SUCCESS) return failed(code, "a preference");
  code = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  int count = 0;
  if (code == CUBLAS_STATUS_SUCCESS && layouts.ok()) {
    code = cublasLtMatmulAlgoGetHeuristic(
        handle_, plan.operation, layouts.weights.get(), layouts.x.get(), layouts.out.get(),
        layouts.out.get(), preference, static_cast<int>(found.size()), found.data(), &count);
  }
  (void)cublasLtMatmulPreferenceDestroy(preference);
  if (code != CUBLAS_STATUS_SUCCESS || count == 0) return failed(code, "no algorithm");
  for (size_t i = static_cast<size_t>(count); i < found.size(); ++i) {
    found[i].state = CUBLAS_STATUS_NOT_SUPPORTED;
  }
  plan.algorithm = found[0].algo;
  plan.workspace_bytes = found[0].workspaceSize;
  return plan;
}

Status LibraryGemm::PrepareWorkspace() {
  if (workspace_ == nullptr) workspace_ = device_.Allocate(kWorkspaceBytes, ArenaMap::kUnit);
  if (workspace_ == nullptr) return ResourceExhaustedError("cuda: no room for a workspace");
  return OkStatus();
}

Status LibraryGemm::Prepare(const Product& product) {
  INFERD_RETURN_IF_ERROR(PrepareWorkspace());
  const Key key = KeyOf(product);
  if (plans_.contains(key)) return OkStatus();
  cublasLtMatmulHeuristicResult_t found = {};
  INFERD_ASSIGN_OR_RETURN(const Plan plan, Look(product, RoundRows(product.rows), {&found, 1}));
  plans_.emplace(key, plan);
  return OkStatus();
}

void LibraryGemm::Multiply(const Product& product) {
  if (Status status = Prepare(product); !status.ok()) return device_.Fail(status);
  const cublasStatus_t code = Launch(product, plans_.at(KeyOf(product)));
  if (code != CUBLAS_STATUS_SUCCESS) device_.Fail(LibraryError(code, "a product"));
}

cublasStatus_t LibraryGemm::Launch(const Product& product, const Plan& plan) const {
  const LibraryLayouts layouts(product, product.rows);
  if (!layouts.ok()) return CUBLAS_STATUS_ALLOC_FAILED;
  const float one = 1.0F;
  const float beta = product.accumulate ? 1.0F : 0.0F;
  const int32_t int_one = 1;
  const int32_t int_zero = 0;
  const bool floats = product.kind != Kind::kInt8;
  return cublasLtMatmul(handle_, plan.operation, floats ? static_cast<const void*>(&one) : &int_one,
                        product.weights, layouts.weights.get(), product.x, layouts.x.get(),
                        floats ? static_cast<const void*>(&beta) : &int_zero, product.out,
                        layouts.out.get(), product.out, layouts.out.get(), &plan.algorithm,
                        workspace_, plan.workspace_bytes, device_.stream());
}

}  // namespace inferd
