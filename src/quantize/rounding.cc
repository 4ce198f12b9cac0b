#include "quantize/rounding.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "quantize/parallel.h"

namespace inferd::quantize {
namespace {

constexpr float kLargestF16 = 65504.0F;
constexpr float kSmallestF16 = 0x1p-24F;
constexpr float kLargestCode = 15.0F;
constexpr float kLargestInt8 = 127.0F;

// To the nearest integer, ties to even, for |x| < 2^22; a call of the library
// would keep the loops around it from being vectorised.
float Nearest(float x) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

// Every row to codes[o][i] = encode(w[o][i] / scales[o]), where the largest |w| of the
// row becomes `largest`.
template <class Code, class Encode>
void RoundRows(const Matrix& weights, float largest, int threads, std::vector<Code>* codes,
               std::vector<float>* scales, const Encode& encode) {
  codes->resize(static_cast<size_t>(weights.out * weights.in));
  scales->resize(static_cast<size_t>(weights.out));
  ParallelFor(threads, weights.out, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const float* row = weights.row(o);
      float most = 0;
      for (int64_t i = 0; i < weights.in; ++i) most = std::max(most, std::abs(row[i]));
      // Rows too small to divide by are rows of zeros.
      const float scale = most / largest;
      const bool zero = !std::isnormal(scale);
      (*scales)[static_cast<size_t>(o)] = zero ? 1.0F : scale;
      Code* to = codes->data() + o * weights.in;
      for (int64_t i = 0; i < weights.in; ++i) to[i] = zero ? Code{0} : encode(row[i] / scale);
    }
  });
}

}  // namespace

bool RoundGroup(const float* weights, int64_t count, float clip, uint8_t* codes,
                GroupSteps* steps) {
  float low = 0;
  float high = 0;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, weights[i]);
    high = std::max(high, weights[i]);
  }
  const float step = (high / kLargestCode - low / kLargestCode) * clip;
  if (!(step <= kLargestF16)) return false;
  // A group this close to zero is zero in F16 anyway.
  steps->scale = F32ToF16(std::max(step, kSmallestF16));
  const float scale = F16ToF32(steps->scale);
  const float zero = std::clamp(Nearest(-low * clip / scale), 0.0F, kLargestCode);
  steps->zero = static_cast<uint8_t>(zero);
  const float inverse = 1.0F / scale;
  for (int64_t i = 0; i < count; ++i) {
    const float code = Nearest(weights[i] * inverse) + zero;
    codes[i] = static_cast<uint8_t>(std::min(std::max(code, 0.0F), kLargestCode));
  }
  return true;
}

bool RoundInt4(const Matrix& weights, int64_t group, const float* clip, int threads,
               Int4Matrix* rounded) {
  const int64_t groups = weights.in / group;
  rounded->out = weights.out;
  rounded->in = weights.in;
  rounded->group = group;
  rounded->codes.resize(static_cast<size_t>(weights.out * weights.in));
  rounded->zeros.resize(static_cast<size_t>(weights.out * groups));
  rounded->scales.resize(static_cast<size_t>(weights.out * groups));
  std::atomic<bool> fits{true};
  ParallelFor(threads, weights.out, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t g = 0; g < groups; ++g) {
        const auto at = static_cast<size_t>(o * groups + g);
        GroupSteps steps;
        if (!RoundGroup(weights.row(o) + g * group, group, clip == nullptr ? 1.0F : clip[at],
                        rounded->codes.data() + o * weights.in + g * group, &steps)) {
          fits = false;
        }
        rounded->scales[at] = steps.scale;
        rounded->zeros[at] = steps.zero;
      }
    }
  });
  return fits;
}

void Dequantize(const Int4Matrix& matrix, int64_t o, float* values) {
  const int64_t groups = matrix.in / matrix.group;
  const uint8_t* codes = matrix.codes.data() + o * matrix.in;
  for (int64_t g = 0; g < groups; ++g) {
    const auto at = static_cast<size_t>(o * groups + g);
    const float scale = F16ToF32(matrix.scales[at]);
    const int zero = matrix.zeros[at];
    for (int64_t i = g * matrix.group; i < (g + 1) * matrix.group; ++i) {
      values[i] = static_cast<float>(codes[i] - zero) * scale;
    }
  }
}

Fp8Matrix RoundFp8(const Matrix& weights, int threads) {
  Fp8Matrix rounded;
  RoundRows(weights, kE4M3Max, threads, &rounded.codes, &rounded.scales, F32ToE4M3);
  return rounded;
}

Int8Matrix RoundInt8(const Matrix& weights, int threads) {
  Int8Matrix rounded;
  RoundRows(weights, kLargestInt8, threads, &rounded.codes, &rounded.scales, [](float value) {
    return static_cast<int8_t>(std::clamp(Nearest(value), -kLargestInt8, kLargestInt8));
  });
  return rounded;
}

}  // namespace inferd::quantize
