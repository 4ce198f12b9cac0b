#include "quantize/companion_files.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

#include "nlohmann/json.hpp"
#include "quantize/checkpoint_writer.h"

namespace inferd::quantize {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 14> kCompanions = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "USE_POLICY.md",
    "NOTICE",
};

// Compressed-tensors: symmetric 8-bit weights per row, integers or E4M3, and activations
// per token as they come.
Json EightBitConfig(bool fp8, bool head_too) {
  const char* type = fp8 ? "float" : "int";
  const auto side = [type](const char* strategy, bool dynamic) {
    return Json{{"num_bits", 8},       {"type", type},
                {"symmetric", true},   {"strategy", strategy},
                {"dynamic", dynamic},  {"group_size", nullptr},
                {"actorder", nullptr}, {"block_structure", nullptr}};
  };
  Json group;
  group["targets"] = Json::array({"Linear"});
  group["weights"] = side("channel", false);
  group["input_activations"] = side("token", true);
  group["output_activations"] = nullptr;
  Json config;
  config["quant_method"] = "compressed-tensors";
  config["format"] = fp8 ? "float-quantized" : "int-quantized";
  config["quantization_status"] = "compressed";
  config["config_groups"]["group_0"] = std::move(group);
  config["ignore"] = head_too ? Json::array() : Json::array({"lm_head"});
  config["kv_cache_scheme"] = nullptr;
  return config;
}

Json AwqConfig(int32_t group_size) {
  Json config;
  config["quant_method"] = "awq";
  config["bits"] = 4;
  config["group_size"] = group_size;
  config["zero_point"] = true;
  config["version"] = "gemm";
  config["modules_to_not_convert"] = Json::array({"lm_head"});
  return config;
}

}  // namespace

Status CopyCompanions(const fs::path& from, const fs::path& to) {
  for (const std::string_view name : kCompanions) {
    std::error_code error;
    if (!fs::exists(from / name, error)) continue;
    fs::copy_file(from / name, to / name, error);
    if (error) {
      return ResourceExhaustedError(std::string(name) + ": cannot be copied: " + error.message());
    }
  }
  return OkStatus();
}

Status WriteConfig(const QuantizeOptions& options, const fs::path& to) {
  std::ifstream file(options.input / "config.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file || !config.is_object()) {
    return FailedPreconditionError("config.json: has changed since it was checked");
  }
  const bool fp8 = options.method == QuantizeMethod::kFp8;
  const bool int8 = options.method == QuantizeMethod::kInt8;
  config["quantization_config"] =
      int8 || fp8 ? EightBitConfig(fp8, int8 && options.int8_head) : AwqConfig(options.group_size);
  // The head is a matrix of its own then.
  if (options.int8_head) config["tie_word_embeddings"] = false;
  return WriteFile(to / "config.json",
                   config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace inferd::quantize
