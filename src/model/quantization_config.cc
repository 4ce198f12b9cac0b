#include "model/quantization_config.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "model/json_fields.h"

namespace inferd {

std::string_view QuantMethodName(QuantMethod method) {
  switch (method) {
    case QuantMethod::kAwq:
      return "awq";
    case QuantMethod::kGptq:
      return "gptq";
    case QuantMethod::kInt8:
      return "int8";
    case QuantMethod::kFp8:
      return "fp8";
    case QuantMethod::kNone:
      break;
  }
  return "";
}

namespace model {
namespace {

using nlohmann::json;

constexpr std::string_view kWhere = "config.json: quantization_config";

// Refuses a text value other than `wanted`, in any case of letters.
void RequireText(JsonFields& fields, std::string_view key, std::string_view wanted) {
  std::string value = fields.StringOr(key, wanted);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (value == wanted) return;
  fields.Unsupported(key, "\"" + Printable(value) +
                              "\" is not supported (supported: " + std::string(wanted) + ")");
}

void RequireBool(JsonFields& fields, std::string_view key, bool absent, bool wanted) {
  if (fields.BoolOr(key, absent) == wanted) return;
  fields.Unsupported(key, wanted ? "only true is supported" : "only false is supported");
}

// Refuses a value that is there and says something.
void RequireNothing(JsonFields& fields, std::string_view key) {
  const json* value = fields.Find(key);
  if (value == nullptr || (value->is_structured() && value->empty())) return;
  fields.Unsupported(key, "is not supported");
}

// Lists of layers left in float need not be followed, only be what they claim:
// the tensors say the same.
void CheckNames(JsonFields& fields, std::string_view key) {
  const json* value = fields.Find(key);
  if (value == nullptr) return;
  const bool names = value->is_array() && std::all_of(value->begin(), value->end(),
                                                      [](const json& v) { return v.is_string(); });
  if (!names) fields.Malformed(key, "must be a list of names");
}

void ReadGroups(JsonFields& fields, QuantizationConfig* config) {
  config->bits = fields.Int("bits", 1, 64);
  if (fields.status().ok() && config->bits != 4) {
    fields.Unsupported("bits", std::to_string(config->bits) + " is not supported (supported: 4)");
  }
  config->group_size = fields.IntOr("group_size", 128, -1, 1 << 20);
  if (!fields.status().ok() || config->group_size == -1) return;
  if (config->group_size <= 0) {
    fields.Malformed("group_size", "must be -1 or positive");
  } else if (config->group_size % 32 != 0) {
    fields.Unsupported("group_size", std::to_string(config->group_size) +
                                         " is not supported (supported: -1, multiples of 32)");
  }
}

void ReadAwq(JsonFields& fields, QuantizationConfig* config) {
  config->method = QuantMethod::kAwq;
  ReadGroups(fields, config);
  RequireText(fields, "version", "gemm");
  RequireBool(fields, "zero_point", /*absent=*/true, /*wanted=*/true);
  CheckNames(fields, "modules_to_not_convert");
}

void ReadGptq(JsonFields& fields, QuantizationConfig* config) {
  config->method = QuantMethod::kGptq;
  ReadGroups(fields, config);
  const std::string format = fields.StringOr("checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    fields.Unsupported("checkpoint_format",
                       "\"" + Printable(format) + "\" is not supported (supported: gptq, gptq_v2)");
  }
  config->zeros_minus_one = format == "gptq";
  config->act_order = fields.BoolOr("desc_act", false);
  fields.BoolOr("sym", true);  // zero points are stored either way
  RequireText(fields, "pack_dtype", "int32");
  RequireBool(fields, "is_marlin_format", /*absent=*/false, /*wanted=*/false);
}

// [outputs, inputs] that share a scale. Inputs count as those of groups do.
void ReadBlock(JsonFields& fields, std::string_view key, QuantizationConfig* config) {
  constexpr int64_t kMost = 1 << 20;
  const json* value = fields.Find(key);
  if (value == nullptr || value->is_null()) return;
  const auto is_size = [](const json& v) {
    return v.is_number_integer() && v.get<int64_t>() > 0 && v.get<int64_t>() <= kMost;
  };
  if (!value->is_array() || value->size() != 2 || !is_size((*value)[0]) || !is_size((*value)[1])) {
    return fields.Malformed(key, "must be two positive numbers");
  }
  config->block_outputs = (*value)[0].get<int32_t>();
  config->block_inputs = (*value)[1].get<int32_t>();
  if (config->block_inputs % 32 != 0) {
    fields.Unsupported(key, "blocks of " + std::to_string(config->block_inputs) +
                                " inputs are not supported (supported: multiples of 32)");
  }
}

// As DeepSeek, Qwen and others publish: E4M3 with scales per tensor or per block.
void ReadFp8(JsonFields& fields, QuantizationConfig* config) {
  config->method = QuantMethod::kFp8;
  config->bits = 8;
  RequireText(fields, "fmt", "e4m3");
  ReadBlock(fields, "weight_block_size", config);
  const std::string scheme = fields.StringOr("activation_scheme", "dynamic");
  if (scheme != "dynamic" && scheme != "static") {
    fields.Unsupported("activation_scheme", "\"" + Printable(scheme) +
                                                "\" is not supported (supported: dynamic, static)");
  }
  config->static_inputs = scheme == "static";
  RequireNothing(fields, "kv_cache_scheme");
  CheckNames(fields, "modules_to_not_convert");
  CheckNames(fields, "ignored_layers");
}

// One side of a compressed-tensors group: 8-bit symmetric integers.
void CheckInt8(const json& side, const std::string& where, std::string_view strategy, bool dynamic,
               Status* status) {
  JsonFields fields(side, where);
  if (const int32_t bits = fields.Int("num_bits", 1, 64); fields.status().ok() && bits != 8) {
    fields.Unsupported("num_bits", std::to_string(bits) + " is not supported (supported: 8)");
  }
  RequireText(fields, "type", "int");
  RequireText(fields, "strategy", strategy);
  RequireBool(fields, "symmetric", /*absent=*/true, /*wanted=*/true);
  const json* value = fields.Find("dynamic");
  if (value != nullptr && value->is_string()) {  // "local"
    fields.Unsupported("dynamic", "\"" + Printable(value->get<std::string>()) +
                                      "\" is not supported (supported: true, false)");
  } else {
    RequireBool(fields, "dynamic", /*absent=*/false, dynamic);
  }
  RequireNothing(fields, "group_size");
  RequireNothing(fields, "block_structure");
  RequireNothing(fields, "actorder");
  *status = fields.status();
}

// Both sides of a compressed-tensors group in E4M3; the second may be missing.
void CheckFloat8(JsonFields& side) {
  if (const int32_t bits = side.Int("num_bits", 1, 64); side.status().ok() && bits != 8) {
    side.Unsupported("num_bits", std::to_string(bits) + " is not supported (supported: 8)");
  }
  RequireText(side, "type", "float");
  RequireBool(side, "symmetric", /*absent=*/true, /*wanted=*/true);
  RequireNothing(side, "actorder");
}

// Reads "dynamic" of a side; "local" is refused.
bool ReadDynamic(JsonFields& side) {
  const json* value = side.Find("dynamic");
  if (value != nullptr && value->is_string()) {
    side.Unsupported("dynamic", "\"" + Printable(value->get<std::string>()) +
                                    "\" is not supported (supported: true, false)");
    return false;
  }
  return side.BoolOr("dynamic", false);
}

Status ReadFp8Group(const json& group, const std::string& where, QuantizationConfig* config) {
  JsonFields fields(group, where);
  RequireNothing(fields, "output_activations");
  CheckNames(fields, "targets");
  INFERD_RETURN_IF_ERROR(fields.status());
  if (!fields.Has("weights")) fields.Malformed("weights", "missing");
  INFERD_RETURN_IF_ERROR(fields.status());

  JsonFields weights(*fields.Find("weights"), where + ": weights");
  CheckFloat8(weights);
  if (ReadDynamic(weights)) weights.Unsupported("dynamic", "only false is supported");
  RequireNothing(weights, "group_size");
  const std::string of_weights = weights.StringOr("strategy", "tensor");
  if (of_weights == "block") {
    ReadBlock(weights, "block_structure", config);
    if (config->block_inputs == 0) weights.Malformed("block_structure", "missing");
  } else if (of_weights != "tensor" && of_weights != "channel") {
    weights.Unsupported("strategy", "\"" + Printable(of_weights) +
                                        "\" is not supported (supported: tensor, channel, block)");
  }
  INFERD_RETURN_IF_ERROR(weights.status());

  config->rounds_inputs = fields.Has("input_activations");
  if (!config->rounds_inputs) return OkStatus();
  JsonFields inputs(*fields.Find("input_activations"), where + ": input_activations");
  CheckFloat8(inputs);
  config->static_inputs = !ReadDynamic(inputs);
  const std::string of_inputs = inputs.StringOr("strategy", "tensor");
  const bool grouped = of_inputs == "group";
  if (!grouped && of_inputs != "token" && of_inputs != "tensor") {
    inputs.Unsupported("strategy", "\"" + Printable(of_inputs) +
                                       "\" is not supported (supported: tensor, token, group)");
  }
  if (grouped && inputs.Int("group_size", 1, 1 << 20) != config->block_inputs &&
      inputs.status().ok()) {
    inputs.Unsupported("group_size", "must be that of the weights' blocks");
  }
  return inputs.status();
}

Status CheckGroup(const json& group, const std::string& name) {
  const std::string where = std::string(kWhere) + ": config_groups: " + name;
  JsonFields fields(group, where);
  INFERD_RETURN_IF_ERROR(fields.status());
  if (fields.Find("format") != nullptr) RequireText(fields, "format", "int-quantized");
  RequireNothing(fields, "output_activations");
  CheckNames(fields, "targets");
  for (const std::string_view side : {"weights", "input_activations"}) {
    if (!fields.Has(side)) {
      fields.Unsupported(side, "must be given (supported: 8-bit weights and activations together)");
    }
  }
  INFERD_RETURN_IF_ERROR(fields.status());
  Status status;
  CheckInt8(*fields.Find("weights"), where + ": weights", "channel", /*dynamic=*/false, &status);
  INFERD_RETURN_IF_ERROR(status);
  CheckInt8(*fields.Find("input_activations"), where + ": input_activations", "token",
            /*dynamic=*/true, &status);
  return status;
}

Status ReadCompressedTensors(JsonFields& fields, QuantizationConfig* config) {
  config->bits = 8;
  if (!fields.Has("format")) fields.Malformed("format", "missing");
  const std::string format = fields.StringOr("format", "");
  const bool fp8 = format == "float-quantized";
  if (!fp8 && format != "int-quantized" && fields.status().ok()) {
    fields.Unsupported("format", "\"" + Printable(format) +
                                     "\" is not supported (supported: int-quantized, "
                                     "float-quantized)");
  }
  config->method = fp8 ? QuantMethod::kFp8 : QuantMethod::kInt8;
  RequireNothing(fields, "kv_cache_scheme");
  RequireNothing(fields, "transform_config");
  CheckNames(fields, "ignore");
  INFERD_RETURN_IF_ERROR(fields.status());
  if (const json* sparsity = fields.Find("sparsity_config"); sparsity != nullptr) {
    JsonFields inner(*sparsity, std::string(kWhere) + ": sparsity_config");
    RequireText(inner, "format", "dense");
    INFERD_RETURN_IF_ERROR(inner.status());
  }
  const json* groups = fields.Find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    fields.Malformed("config_groups", "must be an object of groups");
  } else if (groups->size() > 1) {
    fields.Unsupported("config_groups", "more than one group is not supported");
  }
  INFERD_RETURN_IF_ERROR(fields.status());
  const std::string name = Printable(groups->begin().key());
  const json& group = groups->begin().value();
  if (!fp8) return CheckGroup(group, name);
  JsonFields inner(group, std::string(kWhere) + ": config_groups: " + name);
  INFERD_RETURN_IF_ERROR(inner.status());
  if (inner.Find("format") != nullptr) RequireText(inner, "format", "float-quantized");
  INFERD_RETURN_IF_ERROR(inner.status());
  return ReadFp8Group(group, std::string(kWhere) + ": config_groups: " + name, config);
}

}  // namespace

StatusOr<QuantizationConfig> ReadQuantization(const json& root) {
  QuantizationConfig config;
  const auto it = root.find("quantization_config");
  if (it == root.end() || it->is_null()) return config;
  JsonFields fields(*it, std::string(kWhere));
  INFERD_RETURN_IF_ERROR(fields.status());
  if (!fields.Has("quant_method")) fields.Malformed("quant_method", "missing");
  const std::string method = fields.StringOr("quant_method", "");
  INFERD_RETURN_IF_ERROR(fields.status());
  if (method == "awq") {
    ReadAwq(fields, &config);
  } else if (method == "gptq") {
    ReadGptq(fields, &config);
  } else if (method == "fp8") {
    ReadFp8(fields, &config);
  } else if (method == "compressed-tensors") {
    INFERD_RETURN_IF_ERROR(ReadCompressedTensors(fields, &config));
  } else {
    fields.Unsupported("quant_method",
                       "\"" + Printable(method) +
                           "\" is not supported (supported: awq, gptq, fp8, compressed-tensors)");
  }
  INFERD_RETURN_IF_ERROR(fields.status());
  return config;
}

}  // namespace model
}  // namespace inferd
