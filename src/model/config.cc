#include <algorithm>
#include <array>
#include <cmath>

#include "inferd/model/model_config.h"
#include "model/json_fields.h"
#include "model/quantization_config.h"
#include "model/rope_config.h"

namespace inferd {
namespace {

using model::JsonFields;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// What sets one supported architecture apart.
struct Family {
  std::string_view architecture;
  bool qkv_bias_always = false;       // q, k and v have biases, o has none
  bool reads_attention_bias = false;  // attention_bias: q, k, v and o
  bool qk_norm = false;
  int32_t default_head_dim = 0;  // 0: hidden_size / num_attention_heads
  bool window_always = false;    // sliding_window holds without use_sliding_window
  bool window_flag = false;      // use_sliding_window is read
};

constexpr std::array kFamilies = {
    Family{.architecture = "LlamaForCausalLM", .reads_attention_bias = true},
    Family{.architecture = "MistralForCausalLM", .window_always = true},
    Family{.architecture = "Qwen2ForCausalLM", .qkv_bias_always = true, .window_flag = true},
    Family{.architecture = "Qwen3ForCausalLM",
           .reads_attention_bias = true,
           .qk_norm = true,
           .default_head_dim = 128,
           .window_flag = true},
};

const Family* ReadArchitecture(JsonFields& fields) {
  const nlohmann::json* list = fields.Find("architectures");
  if (list == nullptr || !list->is_array() || list->size() != 1 || !list->front().is_string()) {
    fields.Malformed("architectures", "must be a list of one name");
    return nullptr;
  }
  const std::string name = list->front().get<std::string>();
  for (const Family& family : kFamilies) {
    if (family.architecture == name) return &family;
  }
  fields.Unsupported("architectures",
                     "\"" + model::Printable(name) +
                         "\" is not supported (supported: LlamaForCausalLM, "
                         "MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)");
  return nullptr;
}

// Keys that would change the computation in a way not implemented.
void RefuseUnsupported(JsonFields& fields) {
  if (fields.Has("compression_config")) {
    fields.Unsupported("compression_config", "only quantization_config is read");
  }
  if (fields.Has("auto_map")) {
    fields.Unsupported("auto_map", "checkpoints with code of their own are not supported");
  }
  if (fields.BoolOr("mlp_bias", false)) {
    fields.Unsupported("mlp_bias", "biases in the MLP are not supported");
  }
  const std::string act = fields.StringOr("hidden_act", "silu");
  if (act != "silu" && act != "swish") {
    fields.Unsupported("hidden_act", "\"" + model::Printable(act) + "\" is not supported");
  }
}

void ReadHeads(JsonFields& fields, const Family& family, ModelConfig* config) {
  config->num_heads = fields.Int("num_attention_heads", 1, 1024);
  config->num_kv_heads = fields.IntOr("num_key_value_heads", config->num_heads, 1, 1024);
  if (!fields.status().ok()) return;
  if (config->num_kv_heads > config->num_heads || config->num_heads % config->num_kv_heads != 0) {
    fields.Malformed("num_key_value_heads", "must divide num_attention_heads");
    return;
  }
  int32_t derived = family.default_head_dim;
  if (derived == 0) {
    if (!fields.Has("head_dim") && config->hidden_size % config->num_heads != 0) {
      fields.Malformed("num_attention_heads", "must divide hidden_size");
      return;
    }
    derived = config->hidden_size / config->num_heads;
  }
  config->head_dim = fields.IntOr("head_dim", derived, 2, 512);
  if (config->head_dim < 2 || config->head_dim > 512 || config->head_dim % 2 != 0) {
    fields.Malformed("head_dim", "must be an even number in [2, 512]");
  }
}

// Whether some layer slides, as newer configurations spell it out per layer.
bool ReadLayerTypes(JsonFields& fields, const ModelConfig& config) {
  const nlohmann::json* types = fields.Find("layer_types");
  if (types == nullptr) return false;
  if (!types->is_array() || types->size() != static_cast<size_t>(config.num_layers)) {
    fields.Malformed("layer_types", "must be a list of num_hidden_layers names");
    return false;
  }
  bool slides = false;
  for (const nlohmann::json& type : *types) {
    if (type == "sliding_attention") {
      slides = true;
    } else if (type != "full_attention") {
      fields.Unsupported("layer_types", "only full and sliding attention are known");
      return false;
    }
  }
  return slides;
}

// Within the window sliding attention is full attention, so a window that always
// holds cuts the context; one switched on by a flag is refused.
void ReadSlidingWindow(JsonFields& fields, const Family& family, ModelConfig* config) {
  const int32_t window = fields.IntOr("sliding_window", 0, 0, INT32_MAX);
  const bool flag = fields.BoolOr("use_sliding_window", false);
  const bool slides = ReadLayerTypes(fields, *config);
  if (window == 0 || window >= config->max_context) return;
  if (family.window_flag && (flag || slides)) {
    fields.Unsupported("use_sliding_window", "a sliding window of " + std::to_string(window) +
                                                 " positions is not supported");
  } else if (family.window_always) {
    config->sliding_window = window;
    config->max_context = window;
    config->notes.push_back("context limited to the sliding window of " + std::to_string(window) +
                            " positions");
  }
}

void ReadDType(JsonFields& fields, ModelConfig* config) {
  const std::string_view key = fields.Has("dtype") ? "dtype" : "torch_dtype";
  std::string name = fields.StringOr(key, "float32");
  if (name.rfind("torch.", 0) == 0) name.erase(0, 6);
  if (name == "float32") {
    config->dtype = DType::kF32;
  } else if (name == "float16") {
    config->dtype = DType::kF16;
  } else if (name == "bfloat16") {
    config->dtype = DType::kBF16;
  } else {
    fields.Unsupported(
        key, "\"" + model::Printable(name) + "\" is not supported (float32, float16, bfloat16)");
  }
}

}  // namespace

StatusOr<ModelConfig> ParseModelConfig(std::string_view json) {
  INFERD_ASSIGN_OR_RETURN(const nlohmann::json root, model::ParseJson(json, "config.json"));
  JsonFields fields(root, "config.json");
  INFERD_RETURN_IF_ERROR(fields.status());
  const Family* family = ReadArchitecture(fields);
  INFERD_RETURN_IF_ERROR(fields.status());
  RefuseUnsupported(fields);
  INFERD_RETURN_IF_ERROR(fields.status());

  ModelConfig config;
  config.architecture = family->architecture;
  config.vocab_size = fields.Int("vocab_size", 1, 1 << 24);
  config.hidden_size = fields.Int("hidden_size", 1, 1 << 17);
  config.num_layers = fields.Int("num_hidden_layers", 1, 1024);
  config.intermediate_size = fields.Int("intermediate_size", 1, 1 << 20);
  INFERD_RETURN_IF_ERROR(fields.status());
  ReadHeads(fields, *family, &config);
  config.rms_norm_eps = static_cast<float>(fields.NumberOr("rms_norm_eps", 1e-6, 1e-30, 1.0));
  config.max_positions = fields.Int("max_position_embeddings", 1, 1 << 27);
  config.max_context = config.max_positions;
  config.tie_word_embeddings = fields.BoolOr("tie_word_embeddings", false);
  const bool bias = family->reads_attention_bias && fields.BoolOr("attention_bias", false);
  config.qkv_bias = bias || family->qkv_bias_always;
  config.output_bias = bias;
  config.qk_norm = family->qk_norm;
  ReadDType(fields, &config);
  config.eos_token_ids = fields.TokenIds("eos_token_id", config.vocab_size);
  INFERD_RETURN_IF_ERROR(fields.status());
  INFERD_RETURN_IF_ERROR(model::ReadRope(root, &config));
  INFERD_ASSIGN_OR_RETURN(config.quantization, model::ReadQuantization(root));
  ReadSlidingWindow(fields, *family, &config);
  INFERD_RETURN_IF_ERROR(fields.status());
  return config;
}

StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& dir) {
  INFERD_ASSIGN_OR_RETURN(const std::string text,
                          model::ReadSmallFile(dir / "config.json", kMaxConfigBytes));
  return ParseModelConfig(text);
}

StatusOr<GenerationDefaults> ParseGenerationDefaults(std::string_view json, int32_t vocab_size) {
  INFERD_ASSIGN_OR_RETURN(const nlohmann::json root,
                          model::ParseJson(json, "generation_config.json"));
  JsonFields fields(root, "generation_config.json");
  INFERD_RETURN_IF_ERROR(fields.status());
  GenerationDefaults defaults;
  const auto number = [&fields](std::string_view key, double low, double high) {
    std::optional<float> value;
    if (fields.Has(key)) value = static_cast<float>(fields.Number(key, low, high));
    return value;
  };
  defaults.temperature = number("temperature", 0.0, 2.0);
  if (!fields.BoolOr("do_sample", true)) defaults.temperature = 0.0F;
  defaults.top_p = number("top_p", 1e-6, 1.0);
  defaults.min_p = number("min_p", 0.0, 1.0);
  defaults.repetition_penalty = number("repetition_penalty", 1e-2, 10.0);
  if (fields.Has("top_k")) {
    defaults.top_k = std::max(0, fields.Int("top_k", -1, 1 << 24));  // -1 also means off
  }
  defaults.eos_token_ids = fields.TokenIds("eos_token_id", vocab_size);
  INFERD_RETURN_IF_ERROR(fields.status());
  return defaults;
}

StatusOr<GenerationDefaults> LoadGenerationDefaults(const std::filesystem::path& dir,
                                                    int32_t vocab_size) {
  StatusOr<std::string> text =
      model::ReadSmallFile(dir / "generation_config.json", kMaxConfigBytes);
  if (!text.ok()) {
    if (text.status().code() == StatusCode::kNotFound) return GenerationDefaults{};
    return std::move(text).status();
  }
  return ParseGenerationDefaults(*text, vocab_size);
}

std::vector<TokenId> EndTokens(const ModelConfig& config, const GenerationDefaults& generation) {
  std::vector<TokenId> tokens = config.eos_token_ids;
  tokens.insert(tokens.end(), generation.eos_token_ids.begin(), generation.eos_token_ids.end());
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

}  // namespace inferd
