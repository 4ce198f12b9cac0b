#include "model/rope_config.h"

#include <algorithm>
#include <cmath>

#include "model/json_fields.h"

namespace inferd::model {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;

// How much yarn sharpens attention when its context is stretched by `factor`.
double YarnScale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void ReadLlama3(JsonFields& fields, RopeScaling* scaling) {
  scaling->low_freq_factor = fields.Number("low_freq_factor", 1e-6, kMaxFactor);
  scaling->high_freq_factor = fields.Number("high_freq_factor", 1e-6, kMaxFactor);
  if (fields.status().ok() && scaling->high_freq_factor <= scaling->low_freq_factor) {
    fields.Malformed("high_freq_factor", "must be larger than low_freq_factor");
  }
}

void ReadYarn(JsonFields& fields, RopeScaling* scaling) {
  scaling->beta_fast = fields.NumberOr("beta_fast", 32.0, 1e-6, kMaxFactor);
  scaling->beta_slow = fields.NumberOr("beta_slow", 1.0, 1e-6, kMaxFactor);
  if (scaling->beta_fast < scaling->beta_slow) {
    fields.Malformed("beta_fast", "must not be smaller than beta_slow");
  }
  scaling->truncate = fields.BoolOr("truncate", true);
  const double mscale = fields.NumberOr("mscale", 0.0, 0.0, kMaxFactor);
  const double mscale_all_dim = fields.NumberOr("mscale_all_dim", 0.0, 0.0, kMaxFactor);
  const double derived =
      mscale != 0.0 && mscale_all_dim != 0.0
          ? YarnScale(scaling->factor, mscale) / YarnScale(scaling->factor, mscale_all_dim)
          : YarnScale(scaling->factor, 1.0);
  scaling->attention_factor = fields.NumberOr("attention_factor", derived, 1e-6, kMaxFactor);
}

}  // namespace

Status ReadRope(const nlohmann::json& root, ModelConfig* config) {
  JsonFields top(root, "config.json");
  const double theta = top.NumberOr("rope_theta", 10000.0, 1e-6, kMaxTheta);
  const double partial = top.NumberOr("partial_rotary_factor", 1.0, 0.0, 1.0);
  const std::string_view key = top.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const nlohmann::json* parameters = top.Find(key);
  const nlohmann::json none = nlohmann::json::object();

  JsonFields fields(parameters != nullptr ? *parameters : none, "config.json: " + std::string(key));
  if (fields.Has("full_attention") || fields.Has("sliding_attention")) {
    fields.Unsupported("full_attention", "rotary parameters per layer type are not supported");
  }
  // The base of 1 would make every frequency equal (and yarn divide by zero).
  config->rope_theta = fields.NumberOr("rope_theta", theta, 1e-6, kMaxTheta);
  if (config->rope_theta <= 1.0) fields.Malformed("rope_theta", "must be larger than 1");
  if (fields.NumberOr("partial_rotary_factor", partial, 0.0, 1.0) != 1.0) {
    fields.Unsupported("partial_rotary_factor", "only 1 is supported");
  }
  INFERD_RETURN_IF_ERROR(top.status());
  INFERD_RETURN_IF_ERROR(fields.status());

  RopeScaling& scaling = config->rope_scaling;
  const std::string type = fields.StringOr("rope_type", fields.StringOr("type", "default"));
  INFERD_RETURN_IF_ERROR(fields.status());
  if (type == "default") return OkStatus();
  if (type == "linear") {
    scaling.type = RopeScalingType::kLinear;
  } else if (type == "llama3") {
    scaling.type = RopeScalingType::kLlama3;
  } else if (type == "yarn") {
    scaling.type = RopeScalingType::kYarn;
  } else {
    fields.Unsupported("rope_type", "\"" + Printable(type) +
                                        "\" is not supported (default, linear, llama3, yarn)");
    return fields.status();
  }
  scaling.factor = fields.Number("factor", 1.0, kMaxFactor);
  if (scaling.type != RopeScalingType::kLinear) {
    // Some checkpoints keep the trained length beside the rotary parameters.
    const int32_t beside =
        top.IntOr("original_max_position_embeddings", config->max_positions, 1, 1 << 27);
    scaling.original_max_positions =
        fields.IntOr("original_max_position_embeddings", beside, 1, 1 << 27);
  }
  if (scaling.type == RopeScalingType::kLlama3) ReadLlama3(fields, &scaling);
  if (scaling.type == RopeScalingType::kYarn) ReadYarn(fields, &scaling);
  INFERD_RETURN_IF_ERROR(top.status());
  INFERD_RETURN_IF_ERROR(fields.status());

  if (scaling.type == RopeScalingType::kYarn) {
    const double stretched =
        std::min(static_cast<double>(scaling.original_max_positions) * scaling.factor, 0x1.0p27);
    config->max_context = std::max(config->max_context, static_cast<int32_t>(stretched));
  }
  return OkStatus();
}

}  // namespace inferd::model
