#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"

namespace inferd {

// The value of parallel.layer_split: the layers of each of `stages` stages. "10,12,10", or
// nothing for none. INVALID_ARGUMENT naming the key.
StatusOr<std::vector<int32_t>> ParseLayerSplit(std::string_view text, int32_t stages);

}  // namespace inferd
