// Linear layers with FP8 weights on the CPU: by the unit that multiplies bf16, since
// every E4M3 value is one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "backends/cpu/thread_pool.h"
#include "cpu/linear_fp8.h"
#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/weights.h"

namespace inferd {

// FP8 parts, already described as `weight`: fills in weight.packed.
Status PackFp8Linear(std::span<const RawLinear> parts, const FileBytes* files, Allocator& allocator,
                     ThreadPool& pool, LinearWeight* weight);

// Whether the packed bytes, kept from another process, are those of the weight's sizes.
bool Fp8LinearFits(const LinearWeight& weight);

// Scratch bytes that one row of up to `in_features` inputs needs.
int64_t Fp8LinearRowBytes(int64_t in_features);

// out = x W^T + bias, as many rows at a time as fit in scratch; at least one must.
// Without a unit x stays f32 where the weights do not ask for rounding.
void RunFp8Linear(TensorView x, const LinearWeight& weight, std::optional<kernels::Bf16Unit> unit,
                  TensorView scratch, ThreadPool& pool, TensorView out);

}  // namespace inferd
