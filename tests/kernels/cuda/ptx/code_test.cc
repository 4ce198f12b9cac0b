// LoadCode asks for each kernel that nvcc made.
#include "cuda/code.h"

#include <gtest/gtest.h>

#include "kernels/cuda/ptx/runtime.h"

namespace inferd::cuda {
namespace {

TEST(CodeTest, EveryKernelsCodeIsAskedFor) {
  const size_t all = KernelsNotLoaded().size();
  EXPECT_GT(all, 50U);
  EXPECT_EQ(LoadCode(), 0);
  EXPECT_EQ(KernelsNotLoaded(), std::vector<std::string>());
}

}  // namespace
}  // namespace inferd::cuda
