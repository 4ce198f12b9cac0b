#include "model/rope_table.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "inferd/backends/backend.h"

namespace inferd {
namespace {

constexpr std::array<size_t, 6> kPairs = {0, 1, 20, 30, 40, 63};

struct Case {
  const char* name;
  double theta;
  RopeScaling scaling;
  std::array<double, 6> expected;  // at kPairs, of transformers' modeling_rope_utils
};

ModelConfig Config(const Case& c) {
  ModelConfig config;
  config.head_dim = 128;
  config.rope_theta = c.theta;
  config.rope_scaling = c.scaling;
  return config;
}

TEST(RopeTableTest, FrequenciesAgreeWithTransformers) {
  const std::array cases = {
      Case{"linear",
           10000.0,
           {.type = RopeScalingType::kLinear, .factor = 4.0},
           {0.25, 0.21649109, 0.014058532, 0.0033338037, 0.00079056947, 2.8869548e-05}},
      Case{"llama3",
           500000.0,
           {.type = RopeScalingType::kLlama3, .factor = 8.0, .original_max_positions = 8192},
           {1.0, 0.81461722, 0.016560441, 0.0013718937, 3.4281024e-05, 3.0689259e-07}},
      Case{"yarn",
           1000000.0,
           {.type = RopeScalingType::kYarn, .factor = 4.0, .original_max_positions = 32768},
           {1.0, 0.80584222, 0.013335215, 0.001064361, 4.4456985e-05, 3.1023444e-07}},
      Case{"yarn, ramp not rounded",
           150000.0,
           {.type = RopeScalingType::kYarn,
            .factor = 32.0,
            .original_max_positions = 4096,
            .truncate = false},
           {1.0, 0.83008695, 0.019335, 0.0010526022, 1.8188337e-05, 2.5097773e-07}},
  };
  for (const Case& c : cases) {
    const std::vector<double> frequencies = model::InverseFrequencies(Config(c));
    ASSERT_EQ(frequencies.size(), 64U);
    for (size_t i = 0; i < kPairs.size(); ++i) {
      EXPECT_NEAR(frequencies[kPairs[i]] / c.expected[i], 1.0, 2e-6) << c.name << ", pair " << i;
    }
  }
}

TEST(RopeTableTest, HoldsScaledCosAndSin) {
  auto backend = CreateBackend("ref", {.threads = 1, .logger = nullptr});
  ASSERT_TRUE(backend.ok());
  ModelConfig config;
  config.head_dim = 4;
  config.rope_theta = 100.0;
  config.rope_scaling.attention_factor = 1.25;
  const auto table = model::MakeRopeTable(config, 10, (*backend)->ops());
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->max_positions, 10);
  EXPECT_EQ(table->rotary_dim, 4);
  const auto* cos = reinterpret_cast<const float*>(table->cos.data());
  const auto* sin = reinterpret_cast<const float*>(table->sin.data());
  EXPECT_FLOAT_EQ(cos[7 * 2 + 0], static_cast<float>(1.25 * std::cos(7.0)));
  EXPECT_FLOAT_EQ(sin[7 * 2 + 1], static_cast<float>(1.25 * std::sin(7.0 * 0.1)));
}

}  // namespace
}  // namespace inferd
