#pragma once

#include "cpu/kv_cache.h"
#include "inferd/ops/step.h"

namespace inferd {

// How a layer's cache lies in a block.
kernels::KvLayout KvLayoutOf(const KvLayerSpec& spec);

}  // namespace inferd
