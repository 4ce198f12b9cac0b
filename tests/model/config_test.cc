#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inferd/model/model_config.h"
#include "tiny_checkpoint.h"

namespace inferd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeTiny;

json Good(std::string_view architecture = "LlamaForCausalLM") {
  return MakeTiny(architecture).config;
}

TEST(ConfigTest, ReadsEachFamily) {
  const auto llama = ParseModelConfig(Good().dump());
  ASSERT_TRUE(llama.ok()) << llama.status().ToString();
  EXPECT_EQ(llama->hidden_size, 32);
  EXPECT_EQ(llama->num_kv_heads, 2);
  EXPECT_FALSE(llama->qkv_bias);
  EXPECT_FALSE(llama->qk_norm);
  EXPECT_EQ(llama->max_context, 256);
  EXPECT_THAT(llama->eos_token_ids, ElementsAre(2));

  json biased = Good();
  biased["attention_bias"] = true;
  const auto with_bias = ParseModelConfig(biased.dump());
  ASSERT_TRUE(with_bias.ok());
  EXPECT_TRUE(with_bias->qkv_bias);
  EXPECT_TRUE(with_bias->output_bias);

  const auto qwen2 = ParseModelConfig(Good("Qwen2ForCausalLM").dump());
  ASSERT_TRUE(qwen2.ok());
  EXPECT_TRUE(qwen2->qkv_bias);
  EXPECT_FALSE(qwen2->output_bias);

  json q3 = Good("Qwen3ForCausalLM");
  q3.erase("head_dim");
  const auto qwen3 = ParseModelConfig(q3.dump());
  ASSERT_TRUE(qwen3.ok());
  EXPECT_TRUE(qwen3->qk_norm);
  EXPECT_EQ(qwen3->head_dim, 128);

  const auto mistral = ParseModelConfig(Good("MistralForCausalLM").dump());
  ASSERT_TRUE(mistral.ok());
  EXPECT_FALSE(mistral->qkv_bias);
}

TEST(ConfigTest, TheWidestHeadIsAccepted) {
  json c = Good();
  c["head_dim"] = 512;
  const auto config = ParseModelConfig(c.dump());
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->head_dim, 512);
}

TEST(ConfigTest, AbsentKeysGetTheFamilysDefaults) {
  json c = Good();
  for (const char* key : {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta",
                          "hidden_act", "tie_word_embeddings", "eos_token_id", "torch_dtype"}) {
    c.erase(key);
  }
  c["sliding_window"] = nullptr;
  c["rope_scaling"] = nullptr;
  const auto config = ParseModelConfig(c.dump());
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_FLOAT_EQ(config->rms_norm_eps, 1e-6F);
  EXPECT_EQ(config->rope_theta, 10000.0);
  EXPECT_TRUE(config->eos_token_ids.empty());
}

TEST(ConfigTest, BothFormsOfTheRotaryKeysMeanTheSame) {
  json older = Good();
  older["rope_theta"] = 500000.0;
  older["rope_scaling"] = {{"type", "llama3"},
                           {"factor", 8.0},
                           {"low_freq_factor", 1.0},
                           {"high_freq_factor", 4.0},
                           {"original_max_position_embeddings", 64}};
  json newer = Good();
  newer.erase("rope_theta");
  newer["rope_parameters"] = older["rope_scaling"];
  newer["rope_parameters"].erase("type");
  newer["rope_parameters"]["rope_type"] = "llama3";
  newer["rope_parameters"]["rope_theta"] = 500000.0;
  for (const json& form : {older, newer}) {
    const auto config = ParseModelConfig(form.dump());
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    EXPECT_EQ(config->rope_theta, 500000.0);
    EXPECT_EQ(config->rope_scaling.type, RopeScalingType::kLlama3);
    EXPECT_EQ(config->rope_scaling.factor, 8.0);
    EXPECT_EQ(config->rope_scaling.original_max_positions, 64);
    EXPECT_EQ(config->max_context, 256);
  }
}

TEST(ConfigTest, YarnStretchesTheContext) {
  json c = Good();
  c["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 256}};
  const auto config = ParseModelConfig(c.dump());
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->max_context, 1024);
  EXPECT_NEAR(config->rope_scaling.attention_factor, 1.138629436111989, 1e-12);
}

TEST(ConfigTest, SlidingWindows) {
  json mistral = Good("MistralForCausalLM");
  mistral["sliding_window"] = 4096;
  EXPECT_EQ(ParseModelConfig(mistral.dump())->max_context, 256);
  mistral["sliding_window"] = 100;
  const auto limited = ParseModelConfig(mistral.dump());
  ASSERT_TRUE(limited.ok());
  EXPECT_EQ(limited->max_context, 100);
  EXPECT_EQ(limited->notes.size(), 1U);

  json qwen = Good("Qwen2ForCausalLM");
  qwen["sliding_window"] = 100;
  qwen["use_sliding_window"] = false;
  EXPECT_EQ(ParseModelConfig(qwen.dump())->max_context, 256);
  qwen["use_sliding_window"] = true;
  EXPECT_EQ(ParseModelConfig(qwen.dump()).status().code(), StatusCode::kUnimplemented);
  qwen["sliding_window"] = 256;
  EXPECT_TRUE(ParseModelConfig(qwen.dump()).ok());
  qwen["sliding_window"] = 100;
  qwen["use_sliding_window"] = false;
  qwen["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_EQ(ParseModelConfig(qwen.dump()).status().code(), StatusCode::kUnimplemented);
}

struct BadValue {
  const char* key;
  json value;
  StatusCode code;
  const char* names;  // in the message
};

TEST(ConfigTest, RefusesBadValuesByName) {
  constexpr StatusCode kBad = StatusCode::kFailedPrecondition;
  constexpr StatusCode kNot = StatusCode::kUnimplemented;
  const std::vector<BadValue> cases = {
      {"architectures", {"GPT2LMHeadModel"}, kNot, "GPT2LMHeadModel"},
      {"architectures", json::array(), kBad, "architectures"},
      {"architectures", "LlamaForCausalLM", kBad, "architectures"},
      {"architectures", {"LlamaForCausalLM", "X"}, kBad, "architectures"},
      {"hidden_act", "gelu", kNot, "gelu"},
      {"hidden_act", 3, kBad, "hidden_act"},
      {"compression_config", {{"format", "int-quantized"}}, kNot, "compression_config"},
      {"quantization_config", {{"quant_method", "quip"}}, kNot, "quantization_config"},
      {"mlp_bias", true, kNot, "mlp_bias"},
      {"mlp_bias", "yes", kBad, "mlp_bias"},
      {"auto_map", {{"AutoModel", "x.py"}}, kNot, "auto_map"},
      {"hidden_size", 0, kBad, "hidden_size"},
      {"hidden_size", -32, kBad, "hidden_size"},
      {"hidden_size", 32.5, kBad, "hidden_size"},
      {"hidden_size", "32", kBad, "hidden_size"},
      {"hidden_size", 9223372036854775808ULL, kBad, "hidden_size"},
      {"hidden_size", 4294967328ULL, kBad, "hidden_size"},
      {"num_hidden_layers", -1, kBad, "num_hidden_layers"},
      {"num_hidden_layers", 1000000, kBad, "num_hidden_layers"},
      {"num_attention_heads", 0, kBad, "num_attention_heads"},
      {"num_attention_heads", 3, kBad, "num_key_value_heads"},
      {"num_key_value_heads", 0, kBad, "num_key_value_heads"},
      {"num_key_value_heads", 3, kBad, "num_key_value_heads"},
      {"num_key_value_heads", 8, kBad, "num_key_value_heads"},
      {"head_dim", 7, kBad, "head_dim"},
      {"head_dim", 514, kBad, "head_dim"},
      {"head_dim", 1 << 20, kBad, "head_dim"},
      {"vocab_size", 0, kBad, "vocab_size"},
      {"vocab_size", 2147483648LL, kBad, "vocab_size"},
      {"intermediate_size", 0, kBad, "intermediate_size"},
      {"max_position_embeddings", -5, kBad, "max_position_embeddings"},
      {"max_position_embeddings", nullptr, kBad, "max_position_embeddings: missing"},
      {"rms_norm_eps", 0, kBad, "rms_norm_eps"},
      {"rms_norm_eps", -1e-6, kBad, "rms_norm_eps"},
      {"rope_theta", 0, kBad, "rope_theta"},
      {"rope_theta", 1.0, kBad, "rope_theta"},
      {"rope_theta", "1e4", kBad, "rope_theta"},
      {"partial_rotary_factor", 0.5, kNot, "partial_rotary_factor"},
      {"torch_dtype", "float8_e4m3fn", kNot, "torch_dtype"},
      {"eos_token_id", 64, kBad, "eos_token_id"},
      {"eos_token_id", -1, kBad, "eos_token_id"},
      {"eos_token_id", {1, "2"}, kBad, "eos_token_id"},
      {"sliding_window", -1, kBad, "sliding_window"},
      {"layer_types", {"full_attention"}, kBad, "layer_types"},
      {"layer_types", {"full_attention", "linear_attention"}, kNot, "layer_types"},
      {"tie_word_embeddings", 1, kBad, "tie_word_embeddings"},
      {"rope_scaling", {{"rope_type", "longrope"}}, kNot, "longrope"},
      {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2}}, kNot, "dynamic"},
      {"rope_scaling", {{"rope_type", 4}}, kBad, "rope_type"},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", 0}}, kBad, "factor"},
      {"rope_scaling", {{"rope_type", "linear"}}, kBad, "factor: missing"},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}}, kBad, "low_freq_factor"},
      {"rope_scaling",
       {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}},
       kBad,
       "high_freq_factor"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 2}, {"beta_fast", 1}, {"beta_slow", 32}},
       kBad,
       "beta_fast"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", -1}},
       kBad,
       "original_max_position_embeddings"},
      {"rope_scaling", "linear", kBad, "rope_scaling"},
      {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}, kNot, "layer type"},
  };
  EXPECT_GE(cases.size(), 50U);
  for (const BadValue& c : cases) {
    json config = Good();
    config[c.key] = c.value;
    const auto parsed = ParseModelConfig(config.dump());
    ASSERT_FALSE(parsed.ok()) << c.key << " = " << c.value.dump();
    EXPECT_EQ(parsed.status().code(), c.code) << parsed.status().ToString();
    EXPECT_THAT(parsed.status().message(), HasSubstr(c.names));
    EXPECT_THAT(parsed.status().message(), ::testing::StartsWith("config.json"));
    EXPECT_EQ(parsed.status().message().find('\n'), std::string::npos);
    EXPECT_LT(parsed.status().message().size(), 240U);
  }
}

TEST(ConfigTest, RefusesMalformedText) {
  const std::string good = Good().dump();
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {good + "x", "not valid JSON"},
      {"[]", "JSON object"},
      {"null", "JSON object"},
      {"{\"hidden_size\": NaN}", "not valid JSON"},
      {"{\"rms_norm_eps\": 1e999}", "not valid JSON"},
      {"{\"architectures\": [\"\xff\"]}", "not valid JSON"},
      {deep, "nested deeper"},
      {std::string(100000, '['), "nested deeper"},
      {"{\"vocab_size\": 1, \"vocab_size\": 2}", "appears twice"},
      {"{\"a\": {\"b\": 1, \"b\": 2}}", "appears twice"},
  };
  for (const auto& [text, names] : cases) {
    const auto parsed = ParseModelConfig(text);
    ASSERT_FALSE(parsed.ok()) << text.substr(0, 60);
    EXPECT_EQ(parsed.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(parsed.status().message(), HasSubstr(names));
  }
}

TEST(GenerationDefaultsTest, ReadsWhatIsThere) {
  const auto defaults = ParseGenerationDefaults(
      R"({"temperature": 0.6, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05,
          "do_sample": true, "eos_token_id": [3, 1], "max_new_tokens": 7})",
      64);
  ASSERT_TRUE(defaults.ok()) << defaults.status().ToString();
  EXPECT_FLOAT_EQ(*defaults->temperature, 0.6F);
  EXPECT_FLOAT_EQ(*defaults->top_p, 0.9F);
  EXPECT_EQ(*defaults->top_k, 20);
  EXPECT_FLOAT_EQ(*defaults->repetition_penalty, 1.05F);
  EXPECT_FALSE(defaults->min_p.has_value());
  ModelConfig config;
  config.eos_token_ids = {2, 3};
  EXPECT_THAT(EndTokens(config, *defaults), ElementsAre(1, 2, 3));

  const auto greedy = ParseGenerationDefaults(R"({"do_sample": false, "top_k": -1})", 64);
  ASSERT_TRUE(greedy.ok());
  EXPECT_EQ(*greedy->temperature, 0.0F);
  EXPECT_EQ(*greedy->top_k, 0);
}

TEST(GenerationDefaultsTest, RefusesWhatIsOutOfRange) {
  for (const char* text : {R"({"temperature": -3})", R"({"top_k": 1000000000})", R"({"top_p": 0})",
                           R"({"top_p": 1.1})", R"({"repetition_penalty": 0})",
                           R"({"eos_token_id": 64})", R"({"temperature": "hot"})", R"([1])"}) {
    EXPECT_EQ(ParseGenerationDefaults(text, 64).status().code(), StatusCode::kFailedPrecondition)
        << text;
  }
}

TEST(GenerationDefaultsTest, AnAbsentFileSetsNothing) {
  const testing::TempDir dir;
  const auto defaults = LoadGenerationDefaults(dir.path(), 64);
  ASSERT_TRUE(defaults.ok());
  EXPECT_FALSE(defaults->temperature.has_value());
  EXPECT_TRUE(defaults->eos_token_ids.empty());
}

}  // namespace
}  // namespace inferd
