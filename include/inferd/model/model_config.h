// What config.json and generation_config.json say, checked. Every value is in
// range once a ModelConfig exists; nothing later divides by zero or overflows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

enum class RopeScalingType : uint8_t { kNone, kLinear, kLlama3, kYarn };

// How the rotary frequencies are stretched beyond the trained context.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1.0;
  int64_t original_max_positions = 0;  // llama3, yarn
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  double beta_fast = 32.0;             // yarn
  double beta_slow = 1.0;              // yarn
  // yarn: multiplies cos and sin. Given, or derived from factor and the mscales.
  double attention_factor = 1.0;
  bool truncate = true;  // yarn: round the correction range to whole dimensions
};

enum class QuantMethod : uint8_t { kNone, kAwq, kGptq, kInt8, kFp8 };

// How the linear layers are stored. Which of them are is what the checkpoint's
// tensors say: a layer in float has a float <name>.weight.
struct QuantizationConfig {
  QuantMethod method = QuantMethod::kNone;
  int32_t bits = 0;              // of a weight; 0 without quantisation
  int32_t group_size = 0;        // awq, gptq: inputs that share a scale; -1: all of a row
  bool zeros_minus_one = false;  // gptq: zero points are stored one less
  bool act_order = false;        // gptq: the order of the groups is in g_idx
  // fp8: outputs and inputs that share a scale where layers have one per block; 0: none has.
  int32_t block_outputs = 0;
  int32_t block_inputs = 0;
  bool rounds_inputs = true;   // fp8: to E4M3; else the weights alone are in it
  bool static_inputs = false;  // fp8: the checkpoint has scales of inputs, which are not used
};

// "awq", "gptq", "int8", "fp8"; empty without quantisation.
std::string_view QuantMethodName(QuantMethod method);

// One decoder-only transformer of the Llama family: RMS norm, rotary positions,
// grouped-query attention, SwiGLU. The families differ in the flags.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM", …
  int32_t hidden_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;  // even
  int32_t intermediate_size = 0;
  int32_t vocab_size = 0;
  float rms_norm_eps = 1e-6F;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  int32_t max_positions = 0;   // max_position_embeddings
  int32_t sliding_window = 0;  // 0: none
  // The longest context this model computes correctly: max_positions, stretched
  // by yarn, cut to the sliding window.
  int32_t max_context = 0;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // on o_proj
  bool qk_norm = false;      // RMS norm of each q and k head before rope
  DType dtype = DType::kF32;
  QuantizationConfig quantization;
  std::vector<TokenId> eos_token_ids;
  // Things worth a log line (a limited context, an ignored key).
  std::vector<std::string> notes;
};

// The sampling defaults the authors of a checkpoint recommend; unset where they
// say nothing.
struct GenerationDefaults {
  std::optional<float> temperature;  // 0 when do_sample is false
  std::optional<float> top_p;
  std::optional<int32_t> top_k;  // 0: off
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::vector<TokenId> eos_token_ids;
};

// From the text of a config.json. FAILED_PRECONDITION for malformed or
// out-of-range values, UNIMPLEMENTED for what is not supported; one line that
// names the key.
StatusOr<ModelConfig> ParseModelConfig(std::string_view json);
// From <dir>/config.json, of at most 1 MiB.
StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& dir);

// From the text of a generation_config.json.
StatusOr<GenerationDefaults> ParseGenerationDefaults(std::string_view json, int32_t vocab_size);
// From <dir>/generation_config.json; nothing set when there is none.
StatusOr<GenerationDefaults> LoadGenerationDefaults(const std::filesystem::path& dir,
                                                    int32_t vocab_size);

// Every token that ends an answer: those of both files, ascending, unique.
std::vector<TokenId> EndTokens(const ModelConfig& config, const GenerationDefaults& generation);

}  // namespace inferd
