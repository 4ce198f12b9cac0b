// The device backend, emulated, against the reference: its own sources and kernels,
// case by case. What this cannot show is listed in docs/cuda.md.
#include "ops/conformance.h"

#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"

namespace inferd::testing {
namespace {

class CudaConformanceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    auto backend = MakeCudaBackend({});
    ASSERT_TRUE(backend.ok()) << backend.status().ToString();
    backend_ = std::move(*backend);
    reference_ = CreateBackend("ref", {}).value();
  }
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
};

TEST_F(CudaConformanceTest, Products) {
  EXPECT_GT(Compare(*reference_, *backend_, 16, "Linear_").run, 100);
  EXPECT_GT(FakeCuda().library_products, 0);
}

TEST_F(CudaConformanceTest, RowOps) {
  for (const char* part : {"RmsNorm", "Add_", "SiluMul", "Embed", "Gather", "CopyColumns"}) {
    EXPECT_GT(Compare(*reference_, *backend_, 16, part).run, 0) << part;
  }
}

TEST_F(CudaConformanceTest, Rope) {
  EXPECT_GT(Compare(*reference_, *backend_, 16, "Rope_").run, 0);
}

// A part of the shapes: the rest is compared where there is a GPU.
TEST_F(CudaConformanceTest, AttentionAndCache) {
  for (const char* part :
       {"Attention_bf16_h8x2", "Attention_bf16_h7x1", "Attention_i8_h4x2", "Attention_i8_h5x1",
        "Attention_f32_h6x6", "Attention_bf16_h33x1", "AppendKv"}) {
    EXPECT_GT(Compare(*reference_, *backend_, 16, part, 2.0).run, 0) << part;
  }
}

}  // namespace
}  // namespace inferd::testing
