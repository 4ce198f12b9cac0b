// What all CPU kernels share. A kernel takes a struct of parameters and a range
// of tasks; it neither allocates nor synchronises, and may run on any number of
// threads at once over disjoint ranges.
#pragma once

#include <cstdint>

namespace inferd::kernels {

enum class Element : uint8_t { kF32, kF16, kBF16 };

// FP8 with four exponent bits, as cached.
struct E4M3 {
  uint8_t bits;
};

constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The instruction set the kernels chose, e.g. "AVX3". On x86 no kernel, this one
// included, may be called on a processor without AVX2.
const char* TargetName();
// Multiply-adds on registers only. Returns the flops done; `sink` keeps the
// result alive. With ReadStreams the ceilings that kernel_bench measures.
double BurnMultiplyAdds(int64_t iterations, float* sink);
// Reads n floats (a multiple of 1024) in four streams; returns their sum.
float ReadStreams(const float* x, int64_t n);

}  // namespace inferd::kernels
