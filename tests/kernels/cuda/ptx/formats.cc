#include "kernels/cuda/ptx/formats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace inferd::cuda::ptx {

double ToDouble(const Format& format, uint32_t bits) {
  const int top = 1 << format.exponent_bits;
  const auto mantissa = static_cast<int>(bits & ((1U << format.mantissa_bits) - 1));
  const auto exponent =
      static_cast<int>(bits >> format.mantissa_bits & (static_cast<uint32_t>(top) - 1));
  const bool negative = (bits >> (format.mantissa_bits + format.exponent_bits) & 1) != 0;
  const int bias = top / 2 - 1;
  const int scale = 1 << format.mantissa_bits;
  double value = 0;
  if (exponent == top - 1 && format.infinity) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == top - 1 && mantissa == scale - 1) {
    value = NAN;
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  } else {
    value = std::ldexp(mantissa + scale, exponent - bias - format.mantissa_bits);
  }
  return negative ? -value : value;
}

uint32_t FromDouble(const Format& format, double value, bool finite) {
  const int top = 1 << format.exponent_bits;
  const int bias = top / 2 - 1;
  const uint32_t sign_bit = 1U << (format.exponent_bits + format.mantissa_bits);
  const uint32_t sign = std::signbit(value) ? sign_bit : 0;
  if (std::isnan(value)) return sign_bit - 1;
  const double magnitude = std::fabs(value);
  const uint32_t infinity = static_cast<uint32_t>(top - 1) << format.mantissa_bits;
  const uint32_t largest = format.infinity ? infinity - 1 : sign_bit - 2;
  const uint32_t beyond = finite || !format.infinity ? largest : infinity;
  if (std::isinf(magnitude)) return sign | beyond;
  if (magnitude == 0) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude < 2^exponent
  // The step between numbers here: that of the smallest ones below the normal ones.
  const int step = std::max(exponent - 1, 1 - bias) - format.mantissa_bits;
  const auto steps = static_cast<int64_t>(std::nearbyint(std::ldexp(magnitude, -step)));
  // Steps count from zero among the small, else from the lower end of the binade; a carry
  // into the next binade comes out right in the bits.
  const int64_t binade = step + format.mantissa_bits - (1 - bias);
  const int64_t bits = (binade << format.mantissa_bits) + steps;
  if (bits > largest) return sign | beyond;
  return sign | static_cast<uint32_t>(bits);
}

double AddToOdd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  // What the sum lost, exactly.
  const double b_part = sum - a;
  const double lost = (a - (sum - b_part)) + (b - b_part);
  if (lost == 0 || (std::bit_cast<uint64_t>(sum) & 1) != 0) return sum;
  return std::nextafter(sum, lost > 0 ? INFINITY : -INFINITY);
}

double RoundToInteger(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearest:
      return std::nearbyint(value);
    case Rounding::kZero:
      return std::trunc(value);
    case Rounding::kDown:
      return std::floor(value);
    default:
      return std::ceil(value);
  }
}

float FusedMultiplyAdd(float a, float b, float c, Rounding rounding) {
  if (rounding == Rounding::kNearest) return std::fma(a, b, c);
  // The product is exact; the odd sum lies on the same side of each float as the exact one.
  const double exact = AddToOdd(double{a} * double{b}, double{c});
  const auto nearest = static_cast<float>(exact);
  const double error = double{nearest} - exact;
  if (error == 0 || !std::isfinite(exact)) return nearest;
  const bool away = error > 0 ? nearest > 0 : nearest < 0;
  if (rounding == Rounding::kZero) return away ? std::nextafter(nearest, 0.0F) : nearest;
  if (rounding == Rounding::kDown) {
    return error > 0 ? std::nextafter(nearest, -INFINITY) : nearest;
  }
  return error < 0 ? std::nextafter(nearest, INFINITY) : nearest;
}

}  // namespace inferd::cuda::ptx
