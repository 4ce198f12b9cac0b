// A matrix library of the tests' own behind cuBLASLt's functions: plain products, on
// the fake runtime's streams. It refuses what the real one refuses of what we ask.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/fake_stream.h"
#include "inferd/tensor/tensor.h"

namespace inferd::testing {
namespace {

struct FakeOperation {
  cublasComputeType_t compute;
  bool transpose_a = false;
};

struct FakeLayout {
  cudaDataType type;
  uint64_t rows;
  uint64_t columns;
  int64_t leading;
};

// What may be asked of an algorithm. As in the library, 256 bytes where nothing is said.
struct FakePreference {
  size_t workspace_bytes = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C and D
};

// What an algorithm was found for: rows may differ when it is used, no more.
struct FakeAlgorithm {
  uint64_t outputs;
  uint64_t inputs;
  uint64_t rows;
  cublasComputeType_t compute;
  int number;  // in kMilliseconds
  uint16_t alignment[4];
};

uint64_t refused_rows = 0;

constexpr size_t kWorkspaceBytes = 4096;  // that the algorithm asks for
// What the algorithms take: the first choice is not the best, and one fails.
constexpr double kMilliseconds[] = {4, 3, 1, 2};
constexpr int kFailing = 1;

template <class T>
T* As(void* handle) {
  return static_cast<T*>(handle);
}

bool Supported(const FakeOperation& op, const FakeLayout& a, const FakeLayout& b,
               const FakeLayout& d) {
  if (!op.transpose_a || a.rows != b.rows || a.columns != d.rows || b.columns != d.columns) {
    return false;
  }
  if (op.compute == CUBLAS_COMPUTE_32F) {
    if (a.type == CUDA_R_8F_E4M3) {
      // FP8 products want multiples of 16.
      return b.type == CUDA_R_8F_E4M3 && d.type == CUDA_R_32F && a.rows % 16 == 0 &&
             a.columns % 16 == 0 && a.leading % 16 == 0;
    }
    return (a.type == CUDA_R_16BF || a.type == CUDA_R_16F) && b.type == a.type &&
           d.type == CUDA_R_32F;
  }
  // Integer products want multiples of 4.
  return op.compute == CUBLAS_COMPUTE_32I && a.type == CUDA_R_8I && b.type == CUDA_R_8I &&
         d.type == CUDA_R_32I && a.rows % 4 == 0 && a.columns % 4 == 0 && a.leading % 4 == 0;
}

float Value(const FakeLayout& layout, const void* data, uint64_t i) {
  if (layout.type == CUDA_R_8F_E4M3) return E4M3ToF32(static_cast<const uint8_t*>(data)[i]);
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return layout.type == CUDA_R_16F ? F16ToF32(bits) : BF16ToF32(bits);
}

void FloatProduct(const FakeLayout& a, const FakeLayout& b, const FakeLayout& d, float beta,
                  const void* a_data, const void* b_data, void* d_data) {
  for (uint64_t j = 0; j < d.columns; ++j) {
    for (uint64_t i = 0; i < d.rows; ++i) {
      float sum = 0;
      for (uint64_t k = 0; k < a.rows; ++k) {
        sum += Value(a, a_data, i * a.leading + k) * Value(b, b_data, j * b.leading + k);
      }
      float& out = static_cast<float*>(d_data)[j * d.leading + i];
      out = beta == 0 ? sum : out * beta + sum;
    }
  }
}

void IntProduct(const FakeLayout& a, const FakeLayout& b, const FakeLayout& d, const void* a_data,
                const void* b_data, void* d_data) {
  for (uint64_t j = 0; j < d.columns; ++j) {
    for (uint64_t i = 0; i < d.rows; ++i) {
      int32_t sum = 0;
      for (uint64_t k = 0; k < a.rows; ++k) {
        sum += static_cast<const int8_t*>(a_data)[i * a.leading + k] *
               static_cast<const int8_t*>(b_data)[j * b.leading + k];
      }
      static_cast<int32_t*>(d_data)[j * d.leading + i] = sum;
    }
  }
}

}  // namespace

void SetFakeLibraryRefusal(uint64_t rows) { refused_rows = rows; }

}  // namespace inferd::testing

using namespace inferd::testing;  // NOLINT: the C functions below are in no namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 130100; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t /*scale*/) {
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new FakeOperation{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete reinterpret_cast<FakeOperation*>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA || bytes != sizeof(cublasOperation_t)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  reinterpret_cast<FakeOperation*>(desc)->transpose_a =
      *static_cast<const cublasOperation_t*>(value) == CUBLAS_OP_T;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new FakeLayout{type, rows, columns, leading});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<FakeLayout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new FakePreference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<FakePreference*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  auto& wanted = *reinterpret_cast<FakePreference*>(preference);
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof(size_t)) {
    std::memcpy(&wanted.workspace_bytes, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }
  constexpr cublasLtMatmulPreferenceAttributes_t kAlignments[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const auto* const at = std::find(std::begin(kAlignments), std::end(kAlignments), attribute);
  if (at == std::end(kAlignments) || bytes != sizeof(uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&wanted.alignment[at - std::begin(kAlignments)], value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t /*c*/, cublasLtMatrixLayout_t d,
    cublasLtMatmulPreference_t preference, int wanted, cublasLtMatmulHeuristicResult_t* results,
    int* count) {
  *count = 0;
  const auto& op = *reinterpret_cast<FakeOperation*>(desc);
  const auto& la = *reinterpret_cast<FakeLayout*>(a);
  const auto& ld = *reinterpret_cast<FakeLayout*>(d);
  if (wanted < 1 || !Supported(op, la, *reinterpret_cast<FakeLayout*>(b), ld) ||
      reinterpret_cast<FakePreference*>(preference)->workspace_bytes < kWorkspaceBytes) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (; *count < std::min<int>(wanted, std::size(kMilliseconds)); ++*count) {
    results[*count] = {};
    FakeAlgorithm algorithm{la.columns, la.rows, ld.columns, op.compute, *count, {}};
    const auto& wants = *reinterpret_cast<FakePreference*>(preference);
    std::copy(std::begin(wants.alignment), std::end(wants.alignment), algorithm.alignment);
    static_assert(sizeof(algorithm) <= sizeof(results->algo));
    std::memcpy(&results[*count].algo, &algorithm, sizeof(algorithm));
    results[*count].workspaceSize = kWorkspaceBytes;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t /*b*/,
                                       cublasLtMatrixLayout_t /*c*/, cublasLtMatrixLayout_t /*d*/,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const auto& la = *reinterpret_cast<FakeLayout*>(a);
  FakeAlgorithm algorithm;
  std::memcpy(&algorithm, algo, sizeof(algorithm));
  if (algorithm.outputs != la.columns || algorithm.inputs != la.rows || algorithm.number < 0 ||
      algorithm.number >= static_cast<int>(std::size(kMilliseconds)) ||
      algorithm.compute != reinterpret_cast<FakeOperation*>(desc)->compute) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  result->workspaceSize = kWorkspaceBytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t desc,
                              const void* alpha, const void* a_data, cublasLtMatrixLayout_t a,
                              const void* b_data, cublasLtMatrixLayout_t b, const void* beta,
                              const void* c_data, cublasLtMatrixLayout_t /*c*/, void* d_data,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const FakeOperation op = *reinterpret_cast<FakeOperation*>(desc);
  const FakeLayout la = *reinterpret_cast<FakeLayout*>(a);
  const FakeLayout lb = *reinterpret_cast<FakeLayout*>(b);
  const FakeLayout ld = *reinterpret_cast<FakeLayout*>(d);
  FakeAlgorithm algorithm;
  std::memcpy(&algorithm, algo, sizeof(algorithm));
  if (!Supported(op, la, lb, ld) || c_data != d_data || algorithm.outputs != la.columns ||
      algorithm.inputs != la.rows || algorithm.compute != op.compute ||
      workspace_bytes < kWorkspaceBytes || !IsFakeDeviceMemory(workspace, workspace_bytes)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const void* const addresses[] = {a_data, b_data, c_data, d_data};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<uintptr_t>(addresses[i]) % algorithm.alignment[i] != 0) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  if (algorithm.number == kFailing) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (ld.columns == refused_rows && algorithm.rows != refused_rows) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool floats = op.compute == CUBLAS_COMPUTE_32F;
  const float scale = floats ? *static_cast<const float*>(alpha)
                             : static_cast<float>(*static_cast<const int32_t*>(alpha));
  const float add = floats ? *static_cast<const float*>(beta)
                           : static_cast<float>(*static_cast<const int32_t*>(beta));
  if (scale != 1.0F) return CUBLAS_STATUS_INVALID_VALUE;
  const int code = PutFakeWork(stream, kMilliseconds[algorithm.number], [=] {
    CountFakeProduct();
    std::memset(workspace, 0xff, workspace_bytes);
    if (floats) {
      FloatProduct(la, lb, ld, add, a_data, b_data, d_data);
    } else {
      IntProduct(la, lb, ld, a_data, b_data, d_data);
    }
    return 0;
  });
  return code == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
