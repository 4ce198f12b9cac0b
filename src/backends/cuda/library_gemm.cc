#include "backends/cuda/library_gemm.h"

#include <bit>

#include "backends/cuda/library_layouts.h"

namespace inferd {
namespace {

// The largest power of two up to ArenaMap::kUnit that divides `bytes`.
uint32_t AlignmentOf(int64_t bytes) {
  const auto unit = static_cast<int64_t>(ArenaMap::kUnit);
  return static_cast<uint32_t>(bytes % unit == 0 ? unit : bytes & -bytes);
}

// The library is to choose among what takes our addresses: matrices begin where the arena places
// them, rows of x and of the result anywhere in theirs.
cublasStatus_t SetPreference(cublasLtMatmulPreference_t preference,
                             const LibraryGemm::Product& product) {
  constexpr auto kWeights = static_cast<uint32_t>(ArenaMap::kUnit);
  const uint32_t x = AlignmentOf(product.row_bytes);
  const uint32_t out = AlignmentOf(int64_t{product.outputs} * 4);
  const size_t workspace = LibraryGemm::kWorkspaceBytes;
  const struct {
    cublasLtMatmulPreferenceAttributes_t attribute;
    const void* value;
    size_t bytes;
  } all[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace)},
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &kWeights, sizeof(kWeights)},
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x, sizeof(x)},
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &out, sizeof(out)},
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &out, sizeof(out)}};
  for (const auto& each : all) {
    const cublasStatus_t code =
        cublasLtMatmulPreferenceSetAttribute(preference, each.attribute, each.value, each.bytes);
    if (code != CUBLAS_STATUS_SUCCESS) return code;
  }
  return CUBLAS_STATUS_SUCCESS;
}

// What the library answers before it enqueues anything, when an algorithm does not take a shape.
bool Refused(cublasStatus_t code) {
  return code == CUBLAS_STATUS_NOT_SUPPORTED || code == CUBLAS_STATUS_INVALID_VALUE;
}

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
  for (const auto* plans : {&plans_, &exact_plans_}) {
    for (const auto& [key, plan] : *plans) (void)cublasLtMatmulDescDestroy(plan.operation);
  }
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
  code = SetPreference(preference, product);
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
  const auto known = exact_plans_.find(ShapeOf(product));
  const bool is_exact = known != exact_plans_.end();
  cublasStatus_t code = Launch(product, is_exact ? known->second : plans_.at(KeyOf(product)));
  if (Refused(code) && !is_exact) {
    cublasLtMatmulHeuristicResult_t found = {};
    const StatusOr<Plan> plan = Look(product, product.rows, {&found, 1});
    if (!plan.ok()) return device_.Fail(plan.status());
    exact_plans_.emplace(ShapeOf(product), *plan);
    code = Launch(product, *plan);
  }
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
