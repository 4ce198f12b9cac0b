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
  config->method = QuantMethod::kInt8;
  config->bits = 8;
  if (!fields.Has("format")) fields.Malformed("format", "missing");
  RequireText(fields, "format", "int-quantized");
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
  return CheckGroup(groups->begin().value(), Printable(groups->begin().key()));
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
  } else if (method == "compressed-tensors") {
    INFERD_RETURN_IF_ERROR(ReadCompressedTensors(fields, &config));
  } else {
    fields.Unsupported("quant_method",
                       "\"" + Printable(method) +
                           "\" is not supported (supported: awq, gptq, compressed-tensors)");
  }
  INFERD_RETURN_IF_ERROR(fields.status());
  return config;
}

}  // namespace model
}  // namespace inferd
