#include "backends/cuda/backend_under_test.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"

namespace inferd::testing {

StatusOr<std::unique_ptr<Backend>> MakeBackendUnderTest() {
  ResetFakeCuda();
  return MakeCudaBackend({});
}

}  // namespace inferd::testing
