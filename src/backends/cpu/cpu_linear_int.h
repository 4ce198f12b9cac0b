// Linear layers with integer weights on the CPU.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/thread_pool.h"
#include "cpu/linear_int.h"
#include "inferd/base/status.h"
#include "inferd/ops/weights.h"

namespace inferd {

// kInt8 or kInt4 parts, already described as `weight`: fills in weight.packed.
Status PackIntLinear(std::span<const RawLinear> parts, Allocator& allocator, ThreadPool& pool,
                     LinearWeight* weight);

// Scratch bytes that one row of up to `in_features` inputs needs.
int64_t IntLinearRowBytes(int64_t in_features);

// out = x W^T + bias, as many rows at a time as fit in scratch; at least one must.
void RunIntLinear(TensorView x, const LinearWeight& weight, kernels::DotUnit unit,
                  TensorView scratch, ThreadPool& pool, TensorView out);

}  // namespace inferd
