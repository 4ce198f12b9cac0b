// What the backend says of its device.
#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"

namespace inferd::testing {
namespace {

// Ranks on GPUs are planned with a GPU's memory each; those on processors share the host's.
TEST(CudaBackend, ItsMemoryIsItsOwn) {
  ResetFakeCuda(int64_t{1} << 30);
  const std::unique_ptr<Backend> backend = MakeCudaBackend({}).value();
  EXPECT_TRUE(backend->HasOwnMemory());
  EXPECT_EQ(backend->TotalMemoryBytes(), int64_t{1} << 30);
  EXPECT_GT(backend->AvailableMemoryBytes(), 0);
  EXPECT_LE(backend->AvailableMemoryBytes(), backend->TotalMemoryBytes());
}

}  // namespace
}  // namespace inferd::testing
