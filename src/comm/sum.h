// The one sum of this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/tensor/tensor.h"

namespace inferd {

// out[i] := ((inputs[0][i] + inputs[1][i]) + ...) in F32, for `count` elements of F32 or
// BF16. `out` may be one of the inputs. The bits do not depend on how a range is cut.
void SumInOrder(DType dtype, std::span<const std::byte* const> inputs, int64_t count,
                std::byte* out);

}  // namespace inferd
