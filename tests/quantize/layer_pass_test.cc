// One layer at a time gives what the whole model does.
#include "quantize/layer_pass.h"

#include <gtest/gtest.h>

#include <cstring>

#include "inferd/backends/backend.h"
#include "inferd/ops/solo_step.h"
#include "tiny_checkpoint.h"

namespace inferd::quantize {
namespace {

class LayerPassTest : public ::testing::TestWithParam<const char*> {};

TEST_P(LayerPassTest, TheLogitsAreThoseOfTheModel) {
  const inferd::testing::TempDir dir;
  inferd::testing::MakeTiny(GetParam()).Write(dir.path());
  const ModelConfig config = LoadModelConfig(dir.path()).value();
  constexpr int32_t kTokens = 21;
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < kTokens; ++i) tokens.push_back(i * 7 % config.vocab_size);
  const std::unique_ptr<Backend> backend = CreateBackend("ref", BackendOptions{}).value();
  Ops& ops = backend->ops();

  // The last row, by layers.
  const Checkpoint checkpoint = Checkpoint::Open(dir.path()).value();
  const std::unique_ptr<LayerPass> pass =
      LayerPass::Create(config, checkpoint, kTokens, ops).value();
  std::vector<float> hidden(static_cast<size_t>(kTokens * config.hidden_size));
  ASSERT_TRUE(pass->Embed(tokens, hidden.data()).ok());
  for (int32_t i = 0; i < config.num_layers; ++i) {
    LayerInputs inputs(config, kTokens);
    const LayerWeights layer = pass->Load("model.layers." + std::to_string(i) + ".").value();
    ASSERT_TRUE(pass->Run(layer, tokens, hidden.data(), &inputs).ok());
    EXPECT_EQ(inputs.down.num_rows(), kTokens);
  }
  const TensorView last(hidden.data() + (kTokens - 1) * config.hidden_size, DType::kF32,
                        {1, config.hidden_size});
  std::vector<float> normed(static_cast<size_t>(config.hidden_size));
  const TensorView normed_view(normed.data(), DType::kF32, {1, config.hidden_size});
  const VectorWeight norm = ops.PackVector(checkpoint.View("model.norm.weight").value()).value();
  ops.RmsNorm(last, norm, config.rms_norm_eps, normed_view);
  RawLinear head;
  head.data =
      checkpoint.View(config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight")
          .value();
  const LinearWeight packed = ops.Pack({&head, 1}, {}).value();
  std::vector<float> logits(static_cast<size_t>(config.vocab_size));
  ops.Linear(normed_view, packed, TensorView(logits.data(), DType::kF32, {1, config.vocab_size}));
  ASSERT_TRUE(ops.Finish().ok());

  // And by the model.
  const StepLimits limits{kTokens, 1, kTokens};
  const std::unique_ptr<Model> model =
      LoadModel(config, Checkpoint::Open(dir.path()).value(), limits, ops).value();
  const Workspace workspace =
      Workspace::Create(WholeModel(config), limits, ops.allocator()).value();
  const KvLayerSpec spec{config.num_kv_heads, config.head_dim, 16, DType::kF32};
  std::vector<Buffer> caches;
  std::vector<KvLayerView> kv;
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const auto bytes = static_cast<size_t>(3 * ops.KvBytesPerBlock(spec));
    caches.push_back(Buffer::Create(ops.allocator(), bytes).value());
    std::memset(caches.back().data(), 0, bytes);
    kv.push_back({caches.back().data(), 3, spec});
  }
  const std::unique_ptr<StepPlan> plan = ops.MakeStepPlan(kTokens, 1, 2);
  ops.PlanStep(SoloStep(tokens, 0, 16, {kTokens - 1}).inputs(), plan.get());
  const TensorView wanted = model->Forward(ops, *plan, kv, workspace).value();
  ASSERT_TRUE(ops.Finish().ok());
  for (int64_t i = 0; i < config.vocab_size; ++i) {
    EXPECT_EQ(logits[static_cast<size_t>(i)], wanted.As<float>()[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LayerPassTest,
                         ::testing::Values("LlamaForCausalLM", "Qwen2ForCausalLM",
                                           "Qwen3ForCausalLM"),
                         [](const auto& family) { return std::string(family.param).substr(0, 5); });

TEST(InputSample, KeepsRowsEvenlyAndAveragesAll) {
  InputSample sample(1, 4 * InputSample::kMostRows);
  for (int64_t i = 0; i < 4 * InputSample::kMostRows; ++i) {
    const float value = i % 2 == 0 ? 1.0F : -3.0F;
    sample.Add(&value, 1);
  }
  EXPECT_EQ(sample.num_rows(), InputSample::kMostRows);
  EXPECT_EQ(sample.MeanAbs(), std::vector<float>{2.0F});
}

}  // namespace
}  // namespace inferd::quantize
