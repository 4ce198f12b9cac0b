#pragma once

#include <cstdint>
#include <string_view>

#include "inferd/base/status.h"

namespace inferd {

// The value of parallel.tp: ranks of a stage, in a grid or in one column.
struct TpGrid {
  int32_t rows = 1;
  int32_t columns = 1;
};

// "4" or "2x2", at most 32 ranks. INVALID_ARGUMENT naming the key.
StatusOr<TpGrid> ParseTpGrid(std::string_view text);

}  // namespace inferd
