// Character properties as Python's str has them; the data is generated.
#pragma once

#include <array>
#include <cstdint>

namespace inferd::chat_template {

struct CodePointRange {
  uint32_t first;
  uint32_t last;
};
// Every `stride`-th code point of [first, last] maps to itself plus `delta`.
struct CaseRun {
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t delta;
};
// A mapping to two or three code points; unused places are 0.
struct LongCase {
  uint32_t from;
  std::array<uint32_t, 3> to;
};

extern const std::array<CodePointRange, 648> kAlphaRanges;
extern const std::array<CodePointRange, 81> kDigitRanges;
extern const std::array<CodePointRange, 206> kNumericRanges;
extern const std::array<CodePointRange, 700> kPrintableRanges;
extern const std::array<CaseRun, 194> kUpperRuns;
extern const std::array<LongCase, 102> kUpperLong;
extern const std::array<CaseRun, 181> kLowerRuns;
extern const std::array<LongCase, 1> kLowerLong;

}  // namespace inferd::chat_template
