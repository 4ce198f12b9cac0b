#include "quantize/scale_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantize/parallel.h"

namespace inferd::quantize {
namespace {

constexpr int kAlphas = 20;
constexpr float kLeast = 1e-4F;  // of a mean or a factor

// The mean over the inputs that share a source, at each of them.
void AverageShared(const HeadSharing& sharing, std::vector<float>* values) {
  if (sharing.head_dim == 0) return;
  std::vector<double> sums(static_cast<size_t>(sharing.kv_heads * sharing.head_dim));
  const auto count = static_cast<int64_t>(values->size());
  for (int64_t i = 0; i < count; ++i) {
    sums[static_cast<size_t>(sharing.Source(i))] += (*values)[static_cast<size_t>(i)];
  }
  const int64_t queries = sharing.heads / sharing.kv_heads;  // to a key; exact
  const auto each = static_cast<double>(queries);
  for (int64_t i = 0; i < count; ++i) {
    (*values)[static_cast<size_t>(i)] =
        static_cast<float>(sums[static_cast<size_t>(sharing.Source(i))] / each);
  }
}

// How large the weights of each input are within their groups, 0 to 1, averaged
// over the rows.
std::vector<float> WeightSizes(std::span<Matrix* const> linears, int64_t group) {
  const int64_t in = linears.front()->in;
  std::vector<double> sums(static_cast<size_t>(in));
  double rows = 0;
  for (const Matrix* linear : linears) {
    rows += static_cast<double>(linear->out);
    for (int64_t o = 0; o < linear->out; ++o) {
      const float* row = linear->row(o);
      for (int64_t g = 0; g < in; g += group) {
        float most = 0;
        for (int64_t i = g; i < g + group; ++i) most = std::max(most, std::abs(row[i]));
        if (most == 0) continue;
        for (int64_t i = g; i < g + group; ++i) {
          sums[static_cast<size_t>(i)] += std::abs(row[i]) / most;
        }
      }
    }
  }
  std::vector<float> sizes(sums.size());
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = static_cast<float>(sums[i] / rows);
  return sizes;
}

// Around 1: the geometric mean of the extremes becomes 1.
void Normalise(std::vector<float>* scales) {
  const auto [low, high] = std::minmax_element(scales->begin(), scales->end());
  const float middle = std::sqrt(*low * *high);
  for (float& scale : *scales) scale /= middle;
}

}  // namespace

int64_t HeadSharing::Source(int64_t i) const {
  if (head_dim == 0) return i;
  return i / head_dim / (heads / kv_heads) * head_dim + i % head_dim;
}

void ScaleInputs(Matrix& weights, std::span<const float> scales) {
  for (int64_t o = 0; o < weights.out; ++o) {
    float* row = weights.row(o);
    for (int64_t i = 0; i < weights.in; ++i) row[i] *= scales[static_cast<size_t>(i)];
  }
}

void DivideInputs(InputSample& sample, std::span<const float> scales) {
  for (int64_t r = 0; r < sample.num_rows(); ++r) {
    float* row = sample.row(r);
    for (int64_t i = 0; i < sample.features(); ++i) row[i] /= scales[static_cast<size_t>(i)];
  }
}

StatusOr<double> RoundingError(const Matrix& weights, std::span<const float> scales,
                               const float* clip, const InputSample& sample,
                               const SearchOptions& options, OutputError& error) {
  Int4Matrix rounded;
  if (!RoundInt4(weights, options.group, clip, options.threads, &rounded)) {
    return std::numeric_limits<double>::infinity();
  }
  Matrix difference{weights.out, weights.in, {}};
  difference.values.resize(weights.values.size());
  ParallelFor(options.threads, weights.out, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      float* row = difference.row(o);
      Dequantize(rounded, o, row);
      for (int64_t i = 0; i < weights.in; ++i) row[i] = weights.row(o)[i] - row[i];
      if (scales.empty()) continue;
      for (int64_t i = 0; i < weights.in; ++i) row[i] /= scales[static_cast<size_t>(i)];
    }
  });
  return error.Of(sample, difference);
}

StatusOr<std::vector<float>> SearchScales(std::span<Matrix* const> linears,
                                          const InputSample& sample, const HeadSharing& sharing,
                                          const SearchOptions& options, OutputError& error) {
  std::vector<float> x = sample.MeanAbs();
  std::vector<float> w = WeightSizes(linears, options.group);
  AverageShared(sharing, &x);
  AverageShared(sharing, &w);
  const auto cost = [&](const std::vector<float>& scales) -> StatusOr<double> {
    double sum = 0;
    for (const Matrix* linear : linears) {
      Matrix scaled = *linear;
      ScaleInputs(scaled, scales);
      INFERD_ASSIGN_OR_RETURN(const double part,
                              RoundingError(scaled, scales, nullptr, sample, options, error));
      sum += part;
    }
    return sum;
  };
  std::vector<float> best(x.size(), 1.0F);
  INFERD_ASSIGN_OR_RETURN(double least, cost(best));
  for (int step = 0; step < kAlphas; ++step) {
    const float alpha = static_cast<float>(step) / kAlphas;
    for (const bool by_weight : {false, true}) {
      if (step == 0 && !by_weight) continue;  // all 1
      std::vector<float> scales(x.size());
      for (size_t i = 0; i < scales.size(); ++i) {
        scales[i] = std::pow(std::max(x[i], kLeast), alpha);
        if (by_weight) scales[i] /= std::pow(std::max(w[i], kLeast), 1.0F - alpha);
        scales[i] = std::max(scales[i], kLeast);
      }
      Normalise(&scales);
      INFERD_ASSIGN_OR_RETURN(const double found, cost(scales));
      if (!(found < least)) continue;
      least = found;
      best = std::move(scales);
    }
  }
  return best;
}

}  // namespace inferd::quantize
