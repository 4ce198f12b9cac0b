// Rows of words into columns: what packing weights consists of.
#pragma once

#include <cstdint>

namespace inferd::kernels {

// What becomes of a word of 32 bits on its way.
enum class WordChange : uint8_t {
  kNone,
  kFlipSigns,        // of its four bytes: i8 become u8, 128 more
  kSpreadHalfBytes,  // half-byte i of eight, from the lowest, goes to byte i % 4, the last
                     // four to the high halves
};

// to[k * width + j] = unit k, counted from byte `offset` on, of row j, for all k < units
// and j < count. Rows and `to` lie anywhere; what is between is not written.
void TransposeWords(WordChange change, const void* const* rows, int64_t count, int64_t offset,
                    int64_t units, int64_t width, void* to);
// The same for units of 16 bits, unchanged.
void TransposeHalfWords(const void* const* rows, int64_t count, int64_t offset, int64_t units,
                        int64_t width, void* to);

}  // namespace inferd::kernels
