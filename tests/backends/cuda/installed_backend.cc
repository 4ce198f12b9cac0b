#include "backends/cuda/backend_under_test.h"

namespace inferd::testing {

StatusOr<std::unique_ptr<Backend>> MakeBackendUnderTest() { return CreateBackend("cuda", {}); }

}  // namespace inferd::testing
