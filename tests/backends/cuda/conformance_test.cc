// The device backend, emulated, against the reference: its own sources and kernels,
// case by case. What this cannot show is listed in docs/cuda.md.
#include "ops/conformance.h"

#include <gtest/gtest.h>

#include <cstring>

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

// A row of many has the bits of the row alone, in each format and with either activations.
TEST(CudaBatchInvarianceTest, RowsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 131;
  using WF = WeightFormat;
  for (const Activations activations : {Activations::kF32, Activations::kBF16}) {
    for (const LinearShape& shape :
         {LinearShape{1, 160, 80, WF::kF32}, LinearShape{1, 160, 80, WF::kF16},
          LinearShape{1, 160, 80, WF::kBF16, 2, true}, LinearShape{1, 160, 80, WF::kInt8, 1, true},
          LinearShape{1, 256, 80, WF::kInt4, 1, true, 64}, LinearShape{1, 160, 80, WF::kFp8},
          LinearShape{1, 256, 80, WF::kFp8, 1, false, 128},
          LinearShape{1, 160, 80, WF::kFp8Weights}}) {
      SCOPED_TRACE(LinearCase(shape).name);
      ResetFakeCuda();
      BackendOptions options;
      options.activations = activations;
      options.batch_invariant = true;
      const auto backend = MakeCudaBackend(options).value();
      Ops& ops = backend->ops();
      const int64_t bytes = ops.ScratchBytes(kRows, 1, 256, 1);
      const Buffer scratch = Buffer::Create(ops.allocator(), static_cast<size_t>(bytes)).value();
      ops.SetScratch({scratch.data(), DType::kU8, {bytes}});
      const auto weight = PackLinear(shape, ops);
      ASSERT_TRUE(weight.ok()) << weight.status().ToString();
      const auto multiply = [&](TensorView x, TensorView out) { ops.Linear(x, *weight, out); };
      const std::vector<float> x = Normal(12, kRows * shape.in);
      const std::vector<float> many = RunOnRows(ops, x, kRows, shape.out, multiply);
      for (const int64_t row : {0, 63, 64, 130}) {
        const std::vector<float> own(x.begin() + row * shape.in, x.begin() + (row + 1) * shape.in);
        const std::vector<float> alone = RunOnRows(ops, own, 1, shape.out, multiply);
        EXPECT_EQ(
            std::memcmp(alone.data(), many.data() + row * shape.out, alone.size() * sizeof(float)),
            0)
            << "row " << row;
      }
      EXPECT_EQ(FakeCuda().library_products, 0);
    }
  }
}

// Rows of every kind in one step, among them some that the host has to draw.
TEST_F(CudaConformanceTest, SamplesAsTheReference) {
  constexpr int64_t kVocab = 997;
  std::vector<TokenId> history;
  for (int i = 0; i < 60; ++i) history.push_back((i * i) % 1100);  // some outside
  const std::vector<std::pair<TokenId, float>> bias = {{5, 3.0F}, {990, -4.0F}};
  const std::vector<TokenId> banned = {0, 17, 500};
  std::vector<SampleRow> rows(6);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].seed = 7 + i;
    rows[i].position = 40 + i;
  }
  rows[0].temperature = 0;
  rows[1].top_k = 20;
  rows[2].top_p = 0.8F;
  rows[2].logprobs = 5;
  rows[3].repetition_penalty = 1.3F;
  rows[3].presence_penalty = 0.5F;
  rows[3].frequency_penalty = 0.2F;
  rows[3].history = history;
  rows[3].num_prompt = 30;
  rows[4].logit_bias = bias;
  rows[4].banned = banned;
  rows[4].logprobs = 3;
  rows[5].min_p = 0.1F;
  const auto draw = [&](Ops& ops, const std::vector<SampleRow>& wanted) {
    const auto count = static_cast<int64_t>(wanted.size());
    GuardedRows logits(count, kVocab, &ops);
    logits.Set(Normal(9, count * kVocab, 3.0F));
    std::vector<SampleOutput> out(wanted.size());
    ops.Sample(logits.view(), wanted, out);
    EXPECT_TRUE(ops.Finish().ok());
    EXPECT_TRUE(logits.GuardsIntact());
    return out;
  };
  const auto compare = [&] {
    const auto expected = draw(reference_->ops(), rows);
    const auto actual = draw(backend_->ops(), rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE(i);
      EXPECT_EQ(actual[i].token, expected[i].token);
      EXPECT_EQ(actual[i].corrupted, expected[i].corrupted);
      ASSERT_EQ(actual[i].top.size(), expected[i].top.size());
      for (size_t j = 0; j < actual[i].top.size(); ++j) {
        EXPECT_EQ(actual[i].top[j].first, expected[i].top[j].first);
        EXPECT_NEAR(actual[i].top[j].second, expected[i].top[j].second, 1e-4);
      }
      EXPECT_NEAR(actual[i].logprob, expected[i].logprob, 1e-4);
    }
  };
  compare();
  rows[2].logprobs = 500;  // more than the kernels have room for
  compare();
}

// A part of the shapes: the rest is compared where there is a GPU.
TEST_F(CudaConformanceTest, AttentionAndCache) {
  for (const char* part : {"Attention_bf16_h8x2", "Attention_bf16_h7x1", "Attention_i8_h4x2",
                           "Attention_i8_h5x1", "Attention_f8_e4m3_h4x2", "Attention_f8_e4m3_h5x1",
                           "Attention_f32_h6x6", "Attention_bf16_h33x1", "AppendKv"}) {
    EXPECT_GT(Compare(*reference_, *backend_, 16, part, 2.0).run, 0) << part;
  }
}

}  // namespace
}  // namespace inferd::testing
