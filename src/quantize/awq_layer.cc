#include "quantize/awq_layer.h"

#include <array>
#include <cmath>

namespace inferd::quantize {
namespace {

// weights[o][i] /= scales[o].
void DivideOutputs(Matrix& weights, const std::vector<float>& scales) {
  for (int64_t o = 0; o < weights.out; ++o) {
    float* row = weights.row(o);
    for (int64_t i = 0; i < weights.in; ++i) row[i] /= scales[static_cast<size_t>(o)];
  }
}

Status ScaleBehindNorm(std::span<Matrix* const> linears, const SearchOptions& options,
                       OutputError& error, InputSample& sample, StoredVector& norm) {
  INFERD_ASSIGN_OR_RETURN(std::vector<float> scales,
                          SearchScales(linears, sample, HeadSharing{}, options, error));
  DivideStored(norm, scales);
  for (Matrix* linear : linears) ScaleInputs(*linear, scales);
  DivideInputs(sample, scales);
  return OkStatus();
}

// The inputs of o are sums of rows of v, times weights of the attention: what
// scales a row of v scales the inputs of o that come from it.
Status ScaleOutput(const ModelConfig& config, const SearchOptions& options, OutputError& error,
                   InputSample& sample, LayerMatrices& layer) {
  const HeadSharing sharing{config.num_heads, config.num_kv_heads, config.head_dim};
  const std::array<Matrix*, 1> linears = {&layer.output};
  INFERD_ASSIGN_OR_RETURN(std::vector<float> scales,
                          SearchScales(linears, sample, sharing, options, error));
  std::vector<float> source(static_cast<size_t>(layer.v.out));
  for (size_t i = 0; i < scales.size(); ++i) {
    source[static_cast<size_t>(sharing.Source(static_cast<int64_t>(i)))] = scales[i];
  }
  if (!layer.v_bias.values.empty()) DivideStored(layer.v_bias, source);
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = source[static_cast<size_t>(sharing.Source(static_cast<int64_t>(i)))];
  }
  DivideOutputs(layer.v, source);
  ScaleInputs(layer.output, scales);
  DivideInputs(sample, scales);
  return OkStatus();
}

Status ScaleDown(const SearchOptions& options, OutputError& error, InputSample& sample,
                 LayerMatrices& layer) {
  const std::array<Matrix*, 1> linears = {&layer.down};
  INFERD_ASSIGN_OR_RETURN(const std::vector<float> scales,
                          SearchScales(linears, sample, HeadSharing{}, options, error));
  DivideOutputs(layer.up, scales);
  ScaleInputs(layer.down, scales);
  DivideInputs(sample, scales);
  return OkStatus();
}

}  // namespace

void DivideStored(StoredVector& vector, std::vector<float>& scales) {
  INFERD_CHECK(vector.values.size() == scales.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    float& value = vector.values[i];
    if (value == 0) continue;  // stays zero under any scale
    const float divided = RoundTo(vector.dtype, value / scales[i]);
    const float scale = value / divided;
    if (divided == 0 || !std::isfinite(divided) || !std::isnormal(scale)) {
      scales[i] = 1.0F;
      continue;
    }
    scales[i] = scale;
    value = divided;
  }
}

Status ScaleLayer(const ModelConfig& config, const SearchOptions& options, OutputError& error,
                  LayerInputs& inputs, LayerMatrices& layer) {
  const std::array<Matrix*, 3> qkv = {&layer.q, &layer.k, &layer.v};
  const std::array<Matrix*, 2> gate_up = {&layer.gate, &layer.up};
  INFERD_RETURN_IF_ERROR(ScaleBehindNorm(qkv, options, error, inputs.qkv, layer.attention_norm));
  INFERD_RETURN_IF_ERROR(ScaleOutput(config, options, error, inputs.output, layer));
  INFERD_RETURN_IF_ERROR(ScaleBehindNorm(gate_up, options, error, inputs.gate_up, layer.mlp_norm));
  return ScaleDown(options, error, inputs.down, layer);
}

}  // namespace inferd::quantize
