// Linear layers with integer weights on the CPU.
//
// Their sums are exact, so which unit computes them changes no bit: tiles take many rows, dot
// products few.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/thread_pool.h"
#include "cpu/linear_int.h"
#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/weights.h"

namespace inferd {

// What multiplies with many rows.
enum class IntTiles : uint8_t {
  kNone,      // dot products as well
  kAmx,       // TDPBSUD
  kEmulated,  // the same in scalar code, for tests
};
struct IntUnits {
  kernels::DotUnit dots = kernels::DotUnit::kWiden;
  IntTiles tiles = IntTiles::kNone;
};

// kInt8 or kInt4 parts, already described as `weight`: fills in weight.packed.
Status PackIntLinear(std::span<const RawLinear> parts, const FileBytes* files, Allocator& allocator,
                     ThreadPool& pool, LinearWeight* weight);

// Whether the packed bytes, kept from another process, are those of the weight's sizes.
bool IntLinearFits(const LinearWeight& weight);

// Scratch bytes that one row of up to `in_features` inputs needs.
int64_t IntLinearRowBytes(int64_t in_features);

// out = x W^T + bias, as many rows at a time as fit in scratch; at least one must.
void RunIntLinear(TensorView x, const LinearWeight& weight, IntUnits units, TensorView scratch,
                  ThreadPool& pool, TensorView out);

}  // namespace inferd
