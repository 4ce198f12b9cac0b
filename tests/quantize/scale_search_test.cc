#include "quantize/scale_search.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "inferd/backends/backend.h"
#include "quantize/awq_layer.h"

namespace inferd::quantize {
namespace {

// Inputs of which a few are much larger than the rest, as in trained models.
class ScaleSearchTest : public ::testing::Test {
 protected:
  static constexpr int64_t kIn = 64;
  static constexpr int64_t kRows = 96;

  void SetUp() override {
    StatusOr<std::unique_ptr<Backend>> made = CreateBackend("ref", BackendOptions{});
    ASSERT_TRUE(made.ok());
    backend_ = std::move(made).value();
    Ops& ops = backend_->ops();
    const int64_t bytes = ops.ScratchBytes(64, 1, kIn, 64);
    StatusOr<Buffer> scratch = Buffer::Create(ops.allocator(), static_cast<size_t>(bytes) + 1);
    ASSERT_TRUE(scratch.ok());
    scratch_ = std::move(scratch).value();
    ops.SetScratch(TensorView(scratch_.data(), DType::kU8, {bytes}));
    error_ = std::make_unique<OutputError>(ops, 64);
  }

  Matrix Random(int64_t out, float size) {
    std::normal_distribution<float> normal(0, size);
    Matrix matrix{out, kIn, {}};
    for (int64_t i = 0; i < out * kIn; ++i) matrix.values.push_back(normal(random_));
    return matrix;
  }

  InputSample Outliers() {
    InputSample sample(kIn, kRows);
    Matrix rows = Random(kRows, 1.0F);
    for (int64_t r = 0; r < kRows; ++r) {
      for (const int64_t i : {3, 17, 40}) rows.row(r)[i] *= 30.0F;
    }
    sample.Add(rows.values.data(), kRows);
    return sample;
  }

  double Cost(const Matrix& weights, const std::vector<float>& scales, const float* clip,
              const InputSample& sample) {
    const StatusOr<double> cost = RoundingError(weights, scales, clip, sample, options_, *error_);
    EXPECT_TRUE(cost.ok());
    return cost.ok() ? *cost : -1;
  }

  const SearchOptions options_{32, 1};
  std::mt19937 random_{7};
  std::unique_ptr<Backend> backend_;
  Buffer scratch_;
  std::unique_ptr<OutputError> error_;
};

TEST_F(ScaleSearchTest, OutlierInputsCostMuchLess) {
  Matrix weights = Random(48, 0.05F);
  InputSample sample = Outliers();
  const double plain = Cost(weights, {}, nullptr, sample);
  const std::array<Matrix*, 1> linears = {&weights};
  const StatusOr<std::vector<float>> scales =
      SearchScales(linears, sample, HeadSharing{}, options_, *error_);
  ASSERT_TRUE(scales.ok());
  EXPECT_GT((*scales)[3], 2 * (*scales)[4]);
  ScaleInputs(weights, *scales);
  const double scaled = Cost(weights, *scales, nullptr, sample);
  EXPECT_LT(scaled, 0.5 * plain);

  DivideInputs(sample, *scales);
  const StatusOr<std::vector<float>> clip = SearchClip(weights, sample, options_, *error_);
  ASSERT_TRUE(clip.ok());
  if (!clip->empty()) {
    EXPECT_LT(Cost(weights, {}, clip->data(), sample), Cost(weights, {}, nullptr, sample));
  }
}

TEST_F(ScaleSearchTest, ClippingHelpsWhereOneWeightStandsOut) {
  Matrix weights = Random(16, 0.01F);
  InputSample sample(kIn, kRows);
  Matrix rows = Random(kRows, 1.0F);
  for (int64_t o = 0; o < weights.out; ++o) weights.row(o)[5] = 0.06F;
  for (int64_t r = 0; r < kRows; ++r) rows.row(r)[5] *= 0.01F;  // hardly ever used
  sample.Add(rows.values.data(), kRows);
  const StatusOr<std::vector<float>> clip = SearchClip(weights, sample, options_, *error_);
  ASSERT_TRUE(clip.ok());
  ASSERT_FALSE(clip->empty());
  EXPECT_LT(Cost(weights, {}, clip->data(), sample), 0.8 * Cost(weights, {}, nullptr, sample));
}

// The error computed from the definition, without ops.
TEST_F(ScaleSearchTest, TheErrorIsThatOfTheOutputs) {
  const Matrix weights = Random(8, 0.1F);
  const InputSample sample = Outliers();
  Int4Matrix rounded;
  ASSERT_TRUE(RoundInt4(weights, 32, nullptr, 1, &rounded));
  double wanted = 0;
  std::vector<float> row(kIn);
  for (int64_t o = 0; o < weights.out; ++o) {
    Dequantize(rounded, o, row.data());
    for (int64_t r = 0; r < kRows; ++r) {
      double off = 0;
      for (int64_t i = 0; i < kIn; ++i) {
        off += (double{weights.row(o)[i]} - row[static_cast<size_t>(i)]) * sample.row(r)[i];
      }
      wanted += off * off;
    }
  }
  EXPECT_NEAR(Cost(weights, {}, nullptr, sample), wanted, 1e-3 * wanted);
}

TEST_F(ScaleSearchTest, HeadsThatShareAKeyHeadShareTheirScales) {
  const HeadSharing sharing{4, 2, 16};
  EXPECT_EQ(sharing.Source(0), 0);
  EXPECT_EQ(sharing.Source(16 + 5), 5);
  EXPECT_EQ(sharing.Source(32 + 5), 16 + 5);
  Matrix weights = Random(16, 0.05F);
  const std::array<Matrix*, 1> linears = {&weights};
  const StatusOr<std::vector<float>> scales =
      SearchScales(linears, Outliers(), sharing, options_, *error_);
  ASSERT_TRUE(scales.ok());
  bool all_one = true;
  for (int64_t i = 0; i < kIn; ++i) {
    const auto source = static_cast<size_t>(i % 16 + (i >= 32 ? 32 : 0));
    EXPECT_EQ((*scales)[static_cast<size_t>(i)], (*scales)[source]);
    all_one = all_one && (*scales)[static_cast<size_t>(i)] == 1.0F;
  }
  EXPECT_FALSE(all_one);
}

// What the layer computes is the same before rounding.
TEST_F(ScaleSearchTest, ScalingALayerChangesNothingButTheRounding) {
  ModelConfig config;
  config.hidden_size = kIn;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.intermediate_size = kIn;
  LayerMatrices layer{Random(64, 0.1F),
                      Random(32, 0.1F),
                      Random(32, 0.1F),
                      Random(64, 0.1F),
                      Random(64, 0.1F),
                      Random(64, 0.1F),
                      Random(64, 0.1F),
                      {DType::kBF16, std::vector<float>(kIn, 1.25F)},
                      {DType::kBF16, std::vector<float>(kIn, 0.75F)},
                      {DType::kBF16, std::vector<float>(32, 0.5F)}};
  layer.attention_norm.values[9] = 0.0F;
  const LayerMatrices before = layer;
  LayerInputs inputs(config, kRows);
  for (InputSample* sample : {&inputs.qkv, &inputs.output, &inputs.gate_up, &inputs.down}) {
    *sample = Outliers();
  }
  ASSERT_TRUE(ScaleLayer(config, options_, *error_, inputs, layer).ok());
  const auto near = [](float a, float b) { EXPECT_NEAR(a, b, 1e-5 * std::abs(b) + 1e-9); };
  bool changed = false;
  for (int64_t i = 0; i < kIn; ++i) {
    const auto at = static_cast<size_t>(i);
    const float norm = layer.attention_norm.values[at];
    EXPECT_EQ(norm, RoundTo(DType::kBF16, norm));
    changed = changed || norm != before.attention_norm.values[at];
    for (int64_t o = 0; o < 32; ++o) {
      near(layer.k.row(o)[i] * norm, before.k.row(o)[i] * before.attention_norm.values[at]);
      near(layer.gate.row(o)[i] * layer.mlp_norm.values[at],
           before.gate.row(o)[i] * before.mlp_norm.values[at]);
      // o's input i comes from row `source` of v, whose own inputs are scaled by
      // the norm; down's input i from row i of up.
      const int64_t source = i / 32 * 16 + i % 16;
      const float through_v = layer.output.row(o)[i] * layer.v.row(source)[2];
      near(through_v * layer.attention_norm.values[2],
           before.output.row(o)[i] * before.v.row(source)[2] * before.attention_norm.values[2]);
      near(layer.output.row(o)[i] * layer.v_bias.values[static_cast<size_t>(source)],
           before.output.row(o)[i] * before.v_bias.values[static_cast<size_t>(source)]);
      near(layer.down.row(o)[i] * layer.up.row(i)[2] * layer.mlp_norm.values[2],
           before.down.row(o)[i] * before.up.row(i)[2] * before.mlp_norm.values[2]);
    }
  }
  EXPECT_TRUE(changed);
}

}  // namespace
}  // namespace inferd::quantize
