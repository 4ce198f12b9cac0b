// 4-bit codes as they lie in registers.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace inferd::cuda {

// Four 4-bit codes, a byte each, minus a zero point of at most 15, a byte each: as
// four int8. The high bit keeps a borrow from the next byte.
SIMT_DEVICE uint32_t SubtractZero(uint32_t codes, uint32_t zeros) {
  return ((codes | 0x80808080U) - zeros) ^ 0x80808080U;
}

// The zero point of four codes.
SIMT_DEVICE uint32_t Repeat4(uint8_t zero) { return zero * 0x01010101U; }

}  // namespace inferd::cuda
