#include "model/quantization_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace inferd::model {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Awq() {
  return {{"quant_method", "awq"}, {"bits", 4},          {"group_size", 128},
          {"version", "gemm"},     {"zero_point", true}, {"modules_to_not_convert", nullptr}};
}

json Gptq() {
  return {{"quant_method", "gptq"}, {"bits", 4},       {"group_size", 128},
          {"desc_act", false},      {"sym", true},     {"checkpoint_format", "gptq"},
          {"damp_percent", 0.1},    {"lm_head", false}};
}

json Int8() {
  const json weights = {{"num_bits", 8},
                        {"type", "int"},
                        {"symmetric", true},
                        {"strategy", "channel"},
                        {"dynamic", false},
                        {"group_size", nullptr},
                        {"observer_kwargs", json::object()}};
  json inputs = weights;
  inputs["strategy"] = "token";
  inputs["dynamic"] = true;
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"kv_cache_scheme", nullptr},
          {"ignore", {"lm_head", "re:.*down_proj"}},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"weights", weights},
              {"input_activations", inputs},
              {"output_activations", nullptr}}}}}};
}

json Fp8() {
  return {{"quant_method", "fp8"},
          {"fmt", "e4m3"},
          {"activation_scheme", "dynamic"},
          {"weight_block_size", {128, 128}},
          {"modules_to_not_convert", {"lm_head"}}};
}

json Fp8Groups() {
  json config = Int8();
  config["format"] = "float-quantized";
  for (const char* side : {"weights", "input_activations"}) {
    config["config_groups"]["group_0"][side]["type"] = "float";
  }
  return config;
}

StatusOr<QuantizationConfig> Read(const json& quantization) {
  return ReadQuantization({{"quantization_config", quantization}});
}

TEST(QuantizationConfigTest, ReadsEveryMethod) {
  EXPECT_EQ(ReadQuantization(json::object())->method, QuantMethod::kNone);
  EXPECT_EQ(Read(nullptr)->method, QuantMethod::kNone);
  EXPECT_EQ(QuantMethodName(QuantMethod::kNone), "");

  const auto awq = Read(Awq());
  ASSERT_TRUE(awq.ok()) << awq.status().ToString();
  EXPECT_EQ(QuantMethodName(awq->method), "awq");
  EXPECT_EQ(awq->bits, 4);
  EXPECT_EQ(awq->group_size, 128);

  const auto gptq = Read(Gptq());
  ASSERT_TRUE(gptq.ok()) << gptq.status().ToString();
  EXPECT_EQ(QuantMethodName(gptq->method), "gptq");
  EXPECT_TRUE(gptq->zeros_minus_one);
  EXPECT_FALSE(gptq->act_order);

  const auto int8 = Read(Int8());
  ASSERT_TRUE(int8.ok()) << int8.status().ToString();
  EXPECT_EQ(QuantMethodName(int8->method), "int8");
  EXPECT_EQ(int8->bits, 8);
}

TEST(QuantizationConfigTest, ReadsFp8) {
  const auto blocks = Read(Fp8());
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();
  EXPECT_EQ(QuantMethodName(blocks->method), "fp8");
  EXPECT_EQ(blocks->block_outputs, 128);
  EXPECT_EQ(blocks->block_inputs, 128);
  EXPECT_TRUE(blocks->rounds_inputs);
  EXPECT_FALSE(blocks->static_inputs);
  json fixed = {{"quant_method", "fp8"}, {"activation_scheme", "static"}};
  EXPECT_TRUE(Read(fixed)->static_inputs);
  EXPECT_EQ(Read(fixed)->block_inputs, 0);
  fixed["weight_block_size"] = nullptr;
  EXPECT_TRUE(Read(fixed).ok());

  json groups = Fp8Groups();
  json& group = groups["config_groups"]["group_0"];
  ASSERT_TRUE(Read(groups).ok()) << Read(groups).status().ToString();
  EXPECT_EQ(Read(groups)->method, QuantMethod::kFp8);
  EXPECT_TRUE(Read(groups)->rounds_inputs);
  EXPECT_FALSE(Read(groups)->static_inputs);
  group["format"] = "float-quantized";
  group["weights"]["strategy"] = "tensor";
  group["input_activations"]["strategy"] = "tensor";
  group["input_activations"]["dynamic"] = false;
  EXPECT_TRUE(Read(groups)->static_inputs);
  group["input_activations"] = nullptr;
  EXPECT_FALSE(Read(groups)->rounds_inputs);
  group["weights"]["strategy"] = "block";
  group["weights"]["block_structure"] = {64, 96};
  EXPECT_EQ(Read(groups)->block_outputs, 64);
  EXPECT_EQ(Read(groups)->block_inputs, 96);
}

TEST(QuantizationConfigTest, ReadsTheVariants) {
  json awq = Awq();
  awq["version"] = "GEMM";  // as some writers spell it
  awq["modules_to_not_convert"] = {"lm_head"};
  EXPECT_TRUE(Read(awq).ok());
  awq.erase("version");
  EXPECT_TRUE(Read(awq).ok());

  json gptq = Gptq();
  gptq["checkpoint_format"] = "gptq_v2";
  gptq["group_size"] = -1;
  gptq["desc_act"] = true;
  gptq["sym"] = false;
  const auto v2 = Read(gptq);
  ASSERT_TRUE(v2.ok()) << v2.status().ToString();
  EXPECT_FALSE(v2->zeros_minus_one);
  EXPECT_TRUE(v2->act_order);
  EXPECT_EQ(v2->group_size, -1);
  gptq.erase("checkpoint_format");
  EXPECT_TRUE(Read(gptq)->zeros_minus_one);

  json int8 = Int8();
  int8["sparsity_config"] = {{"format", "dense"}};
  int8["transform_config"] = json::object();
  int8["config_groups"]["group_0"]["format"] = "int-quantized";
  EXPECT_TRUE(Read(int8).ok());
}

struct Refused {
  const char* what;
  json (*base)();
  std::function<void(json&)> edit;
  StatusCode code;
  const char* names;
};

TEST(QuantizationConfigTest, RefusesByName) {
  constexpr StatusCode kBad = StatusCode::kFailedPrecondition;
  constexpr StatusCode kNot = StatusCode::kUnimplemented;
  const auto set = [](const char* key, json value) {
    return [key, value](json& q) { q[key] = value; };
  };
  const auto in_group = [](const char* side, const char* key, json value) {
    return [side, key, value](json& q) { q["config_groups"]["group_0"][side][key] = value; };
  };
  const std::vector<Refused> cases = {
      {"a list", Awq, [](json& q) { q = {1}; }, kBad, "must be a JSON object"},
      {"no method", Awq, [](json& q) { q.erase("quant_method"); }, kBad, "quant_method: missing"},
      {"unknown method", Awq, set("quant_method", "bitsandbytes"), kNot,
       "supported: awq, gptq, fp8, compressed-tensors"},
      {"fp8 of five exponent bits", Fp8, set("fmt", "e5m2"), kNot, "supported: e4m3"},
      {"fp8 of another scheme", Fp8, set("activation_scheme", "sometimes"), kNot,
       "supported: dynamic, static"},
      {"fp8 blocks a number", Fp8, set("weight_block_size", 128), kBad, "two positive numbers"},
      {"fp8 blocks of one side", Fp8, set("weight_block_size", {128}), kBad, "weight_block_size"},
      {"fp8 blocks of nothing", Fp8, set("weight_block_size", {128, 0}), kBad, "weight_block_size"},
      {"fp8 narrow blocks", Fp8, set("weight_block_size", {1, 16}), kNot, "multiples of 32"},
      {"fp8 with a cache", Fp8, set("kv_cache_scheme", "static"), kNot, "kv_cache_scheme"},
      {"method a number", Awq, set("quant_method", 4), kBad, "quant_method"},
      {"AWQ of 3 bits", Awq, set("bits", 3), kNot, "bits: 3 is not supported (supported: 4)"},
      {"AWQ without bits", Awq, [](json& q) { q.erase("bits"); }, kBad, "bits: missing"},
      {"AWQ gemv", Awq, set("version", "gemv"), kNot, "version: \"gemv\""},
      {"AWQ marlin", Awq, set("version", "marlin"), kNot, "marlin"},
      {"AWQ symmetric", Awq, set("zero_point", false), kNot, "zero_point"},
      {"AWQ odd group", Awq, set("group_size", 48), kNot, "multiples of 32"},
      {"AWQ group 0", Awq, set("group_size", 0), kBad, "group_size"},
      {"AWQ group -2", Awq, set("group_size", -2), kBad, "group_size"},
      {"AWQ names no list", Awq, set("modules_to_not_convert", "lm_head"), kBad,
       "modules_to_not_convert"},
      {"GPTQ of 8 bits", Gptq, set("bits", 8), kNot, "bits: 8 is not supported (supported: 4)"},
      {"GPTQ marlin", Gptq, set("checkpoint_format", "marlin"), kNot, "checkpoint_format"},
      {"GPTQ marlin by its flag", Gptq, set("is_marlin_format", true), kNot, "is_marlin_format"},
      {"GPTQ in 64-bit words", Gptq, set("pack_dtype", "int64"), kNot, "pack_dtype"},
      {"GPTQ desc_act a word", Gptq, set("desc_act", "yes"), kBad, "desc_act"},
      {"fp8 that is not", Int8, set("format", "float-quantized"), kNot, "weights: type"},
      {"fp8 weights in groups", Fp8Groups, in_group("weights", "strategy", "group"), kNot,
       "supported: tensor, channel, block"},
      {"fp8 weights of 4 bits", Fp8Groups, in_group("weights", "num_bits", 4), kNot, "num_bits"},
      {"fp8 dynamic weights", Fp8Groups, in_group("weights", "dynamic", true), kNot,
       "weights: dynamic"},
      {"fp8 blocks without a size", Fp8Groups, in_group("weights", "strategy", "block"), kBad,
       "block_structure"},
      {"fp8 by integers", Fp8Groups, in_group("input_activations", "type", "int"), kNot,
       "input_activations: type"},
      {"fp8 inputs in groups of their own", Fp8Groups,
       [](json& q) {
         json& inputs = q["config_groups"]["group_0"]["input_activations"];
         inputs["strategy"] = "group";
         inputs["group_size"] = 64;
       },
       kNot, "group_size"},
      {"fp8 locally dynamic", Fp8Groups, in_group("input_activations", "dynamic", "local"), kNot,
       "local"},
      {"packed weights", Int8, set("format", "pack-quantized"), kNot, "pack-quantized"},
      {"no format", Int8, [](json& q) { q.erase("format"); }, kBad, "format: missing"},
      {"KV cache scheme", Int8, set("kv_cache_scheme", {{"num_bits", 8}}), kNot, "kv_cache_scheme"},
      {"2:4 sparse", Int8, set("sparsity_config", {{"format", "sparse-24-bitmask"}}), kNot,
       "sparse-24"},
      {"rotated", Int8, set("transform_config", {{"config_groups", {{"R1", 1}}}}), kNot,
       "transform_config"},
      {"no groups", Int8, set("config_groups", json::object()), kBad, "config_groups"},
      {"two groups", Int8, [](json& q) { q["config_groups"]["b"] = q["config_groups"]["group_0"]; },
       kNot, "more than one group"},
      {"a group of nothing", Int8, [](json& q) { q["config_groups"]["group_0"] = 1; }, kBad,
       "group_0"},
      {"weights only", Int8,
       [](json& q) { q["config_groups"]["group_0"]["input_activations"] = nullptr; }, kNot,
       "input_activations"},
      {"4-bit weights", Int8, in_group("weights", "num_bits", 4), kNot, "weights: num_bits: 4"},
      {"float weights", Int8, in_group("weights", "type", "float"), kNot, "weights: type"},
      {"one scale for all", Int8, in_group("weights", "strategy", "tensor"), kNot,
       "supported: channel"},
      {"grouped weights", Int8, in_group("weights", "group_size", 128), kNot, "group_size"},
      {"weights off centre", Int8, in_group("weights", "symmetric", false), kNot, "symmetric"},
      {"weights a number", Int8, [](json& q) { q["config_groups"]["group_0"]["weights"] = 8; },
       kBad, "weights"},
      {"static activations", Int8, in_group("input_activations", "dynamic", false), kNot,
       "input_activations: dynamic"},
      {"locally dynamic", Int8, in_group("input_activations", "dynamic", "local"), kNot, "local"},
      {"activations per tensor", Int8, in_group("input_activations", "strategy", "tensor"), kNot,
       "supported: token"},
      {"outputs rounded", Int8, in_group("output_activations", "num_bits", 8), kNot,
       "output_activations"},
      {"ignore no list", Int8, set("ignore", {1, 2}), kBad, "ignore"},
  };
  for (const Refused& c : cases) {
    json quantization = c.base();
    c.edit(quantization);
    const auto read = Read(quantization);
    ASSERT_FALSE(read.ok()) << c.what;
    EXPECT_EQ(read.status().code(), c.code) << c.what << ": " << read.status().ToString();
    EXPECT_THAT(read.status().message(), HasSubstr(c.names)) << c.what;
    EXPECT_THAT(read.status().message(), HasSubstr("quantization_config")) << c.what;
    EXPECT_EQ(read.status().message().find('\n'), std::string::npos) << c.what;
  }
}

}  // namespace
}  // namespace inferd::model
