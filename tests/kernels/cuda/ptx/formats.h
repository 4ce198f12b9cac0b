// The 16- and 8-bit floats, by their definition: values in double, which holds them
// all, and rounding to nearest even in one step.
#pragma once

#include <cstdint>

namespace inferd::cuda::ptx {

// A float of sign, exponent and mantissa bits.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  bool infinity;  // without: the largest exponent is one like the others, but for one NaN
};
inline constexpr Format kHalfFormat = {5, 10, true};
inline constexpr Format kBf16Format = {8, 7, true};
inline constexpr Format kE4m3Format = {4, 3, false};

double ToDouble(const Format& format, uint32_t bits);
// Too large: infinity, or the largest finite number if `finite`. NaN: all bits but the
// sign are set.
uint32_t FromDouble(const Format& format, double value, bool finite);

// a + b rounded to odd: rounding the result again, to half as many bits or fewer, gives
// what rounding the exact sum would.
double AddToOdd(double a, double b);

// To an integer or to fewer bits: the modes of PTX.
enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp };
double RoundToInteger(double value, Rounding rounding);
// a * b + c, rounded once.
float FusedMultiplyAdd(float a, float b, float c, Rounding rounding);

}  // namespace inferd::cuda::ptx
