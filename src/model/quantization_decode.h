// From the packing of quantised checkpoints to that of RawLinear. Shapes have
// been checked; `in` is a multiple of 32, `out` of 8.
#pragma once

#include <cstdint>

#include "inferd/tensor/tensor.h"

namespace inferd::model {

// AWQ qweight [in, out / 8]: a word holds eight outputs of one input, their
// columns in the order 0 2 4 6 1 3 5 7 from the lowest four bits up.
// `to`: [out, in / 2], the even input in the low half of a byte; from one output to the next
// are `row_bytes`, so that a matrix can be written in parts.
void UnpackAwqCodes(const TensorView& qweight, uint8_t* to, int64_t row_bytes);

// GPTQ qweight [in / 8, out]: a word holds eight inputs of one output, from the
// lowest four bits up. `to` as above.
void UnpackGptqCodes(const TensorView& qweight, uint8_t* to, int64_t row_bytes);

enum class NibbleOrder : uint8_t { kPlain, kAwq };

// qzeros [groups, out / 8] to [out, groups], a byte each: the outputs of columns [begin, end).
void UnpackZeros(const TensorView& qzeros, NibbleOrder order, int64_t begin, int64_t end,
                 uint8_t* to);

// Float scales [groups, out] to f32 [out, groups]: of outputs [begin, end). False when one is
// not finite.
bool TransposeScales(const TensorView& scales, int64_t begin, int64_t end, float* to);

// How scales in a file are shared: by so many outputs; columns of them in a row. Those of
// `output` and group `first_group` come first.
struct SharedScales {
  int64_t outputs = 1;
  int64_t columns = 1;
  int64_t output = 0;
  int64_t first_group = 0;
};
// Fills `to`, f32 [out, groups]. False when one is not finite.
bool SpreadScales(const TensorView& stored, const SharedScales& shared, const TensorView& to);

// Whether a value of E4M3 is none.
bool HoldsE4M3Nan(const TensorView& codes);

}  // namespace inferd::model
