#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace inferd::model {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

// Llama 3.1: slow pairs (long wavelengths) are interpolated, fast ones kept, and
// those between blended.
double ScaleLlama3(double frequency, const RopeScaling& s) {
  const double wavelength = kTwoPi / frequency;
  const auto original = static_cast<double>(s.original_max_positions);
  if (wavelength < original / s.high_freq_factor) return frequency;
  if (wavelength > original / s.low_freq_factor) return frequency / s.factor;
  const double smooth =
      (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1.0 - smooth) * frequency / s.factor + smooth * frequency;
}

// YaRN (Peng et al., 2023): the pairs that turn more than beta_fast times within
// the trained context are kept, those below beta_slow interpolated, with a
// linear ramp over the pair index between.
void ScaleYarn(const ModelConfig& config, std::vector<double>* frequencies) {
  const RopeScaling& s = config.rope_scaling;
  const auto dim = static_cast<double>(config.head_dim);
  const auto pair_turning = [&](double turns) {
    return dim * std::log(static_cast<double>(s.original_max_positions) / (turns * kTwoPi)) /
           (2.0 * std::log(config.rope_theta));
  };
  double low = pair_turning(s.beta_fast);
  double high = pair_turning(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;  // an empty ramp
  for (size_t i = 0; i < frequencies->size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    double& f = (*frequencies)[i];
    f = f / s.factor * ramp + f * (1.0 - ramp);
  }
}

}  // namespace

std::vector<double> InverseFrequencies(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  std::vector<double> frequencies(static_cast<size_t>(config.head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / config.head_dim);
    if (s.type == RopeScalingType::kLinear) frequencies[i] /= s.factor;
    if (s.type == RopeScalingType::kLlama3) frequencies[i] = ScaleLlama3(frequencies[i], s);
  }
  if (s.type == RopeScalingType::kYarn) ScaleYarn(config, &frequencies);
  return frequencies;
}

StatusOr<RopeTable> MakeRopeTable(const ModelConfig& config, int64_t max_positions, Ops& ops) {
  const std::vector<double> frequencies = InverseFrequencies(config);
  const double scale = config.rope_scaling.attention_factor;
  const size_t pairs = frequencies.size();
  std::vector<float> cos(static_cast<size_t>(max_positions) * pairs);
  std::vector<float> sin(cos.size());
  for (int64_t p = 0; p < max_positions; ++p) {
    for (size_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(p) * frequencies[i];
      const size_t at = static_cast<size_t>(p) * pairs + i;
      cos[at] = static_cast<float>(std::cos(angle) * scale);
      sin[at] = static_cast<float>(std::sin(angle) * scale);
    }
  }
  RopeTable table;
  table.max_positions = max_positions;
  table.rotary_dim = config.head_dim;
  INFERD_ASSIGN_OR_RETURN(table.cos, ops.Upload(cos));
  INFERD_ASSIGN_OR_RETURN(table.sin, ops.Upload(sin));
  return table;
}

}  // namespace inferd::model
