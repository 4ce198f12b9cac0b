// SearchClip of scale_search.h.
#include <limits>

#include "quantize/parallel.h"
#include "quantize/scale_search.h"

namespace inferd::quantize {
namespace {

constexpr int kRatios = 10;
constexpr float kRatioStep = 0.05F;  // 1, 0.95, … 0.55

// sum over the rows of x[i] * x[j] for the inputs of each group.
// [in / group, group, group]
std::vector<float> GroupProducts(const InputSample& sample, int64_t group, int threads) {
  const int64_t groups = sample.features() / group;
  std::vector<float> products(static_cast<size_t>(groups * group * group));
  ParallelFor(threads, groups, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      float* sums = products.data() + g * group * group;
      for (int64_t r = 0; r < sample.num_rows(); ++r) {
        const float* x = sample.row(r) + g * group;
        for (int64_t i = 0; i < group; ++i) {
          const float xi = x[i];
          for (int64_t j = 0; j < group; ++j) sums[i * group + j] += xi * x[j];
        }
      }
    }
  });
  return products;
}

}  // namespace

StatusOr<std::vector<float>> SearchClip(const Matrix& weights, const InputSample& sample,
                                        const SearchOptions& options, OutputError& error) {
  const int64_t group = options.group;
  const int64_t groups = weights.in / group;
  const std::vector<float> products = GroupProducts(sample, group, options.threads);
  std::vector<float> clip(static_cast<size_t>(weights.out * groups), 1.0F);
  ParallelFor(options.threads, weights.out, [&](int64_t begin, int64_t end) {
    const auto size = static_cast<size_t>(group);
    std::vector<uint8_t> codes(size);
    std::vector<float> off(size);   // weights less their rounded values
    std::vector<float> seen(size);  // products * off
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t g = 0; g < groups; ++g) {
        const float* w = weights.row(o) + g * group;
        const float* product = products.data() + g * group * group;
        float least = std::numeric_limits<float>::infinity();
        for (int step = 0; step < kRatios; ++step) {
          const float ratio = 1.0F - kRatioStep * static_cast<float>(step);
          GroupSteps steps;
          if (!RoundGroup(w, group, ratio, codes.data(), &steps)) continue;
          const float scale = F16ToF32(steps.scale);
          for (size_t i = 0; i < size; ++i) {
            off[i] = w[i] - static_cast<float>(codes[i] - steps.zero) * scale;
          }
          seen.assign(size, 0.0F);
          for (size_t i = 0; i < size; ++i) {
            const float factor = off[i];
            const float* from = product + i * size;
            for (size_t j = 0; j < size; ++j) seen[j] += factor * from[j];
          }
          float sum = 0;
          for (size_t i = 0; i < size; ++i) sum += seen[i] * off[i];
          if (!(sum < least)) continue;
          least = sum;
          clip[static_cast<size_t>(o * groups + g)] = ratio;
        }
      }
    }
  });
  // Groups add up in an output; each being better does not make the sum so.
  INFERD_ASSIGN_OR_RETURN(const double clipped,
                          RoundingError(weights, {}, clip.data(), sample, options, error));
  INFERD_ASSIGN_OR_RETURN(const double whole,
                          RoundingError(weights, {}, nullptr, sample, options, error));
  if (!(clipped < whole)) clip.clear();
  return clip;
}

}  // namespace inferd::quantize
