// What the kernels of sampling share: a row's state between them, keys that order as
// ranks do, and the passing over parts of a row.
#pragma once

#include "cuda/number.h"
#include "cuda/reduce.h"
#include "cuda/sample.h"
#include "cuda/simt.h"
#include "cuda/vec.h"

namespace inferd::cuda {

inline constexpr int kSampleThreads = 256;
inline constexpr int kSampleWarps = kSampleThreads / 32;
// Columns a block of the kernels that share a row takes.
inline constexpr int32_t kPartColumns = 8192;

SIMT_HOST_DEVICE int32_t PartsOf(int32_t vocabulary) {
  return (vocabulary + kPartColumns - 1) / kPartColumns;
}

// A token and how good it is; larger is better, then the lower id.
template <class T>
struct Best {
  T value;
  int32_t id;
};
template <class T>
SIMT_HOST_DEVICE bool IsBetter(const Best<T>& a, const Best<T>& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// Of a row, between kernels.
struct RowState {
  uint64_t least_key;  // tokens with smaller keys are out
  double log_sum;      // of the logits as they came
  float max;
  int32_t best;     // its first token
  int32_t invalid;  // 1: found before anything was overwritten
  int32_t done;     // the result is written
};
struct RowPart {
  Best<double> best;
  int32_t invalid;
};

struct SampleWorkspace {
  int32_t* arrivals;  // [max_rows], zeros between launches
  RowState* states;   // [max_rows]
  RowPart* parts;     // [max_rows, parts]
  float* raw;         // [max_rows, vocabulary]: logits as they came, of rows that need them
  size_t bytes;       // up to raw
};
SIMT_HOST_DEVICE SampleWorkspace WorkspaceOf(void* memory, int32_t max_rows, int32_t vocabulary) {
  const auto rows = static_cast<size_t>(max_rows);
  size_t used = 0;
  const auto take = [&](size_t bytes) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory) + used;  // of null for its size
    used += (bytes + 15) / 16 * 16;
    return at;
  };
  SampleWorkspace w;
  w.arrivals = reinterpret_cast<int32_t*>(take(rows * sizeof(int32_t)));
  w.states = reinterpret_cast<RowState*>(take(rows * sizeof(RowState)));
  w.parts = reinterpret_cast<RowPart*>(
      take(rows * static_cast<size_t>(PartsOf(vocabulary)) * sizeof(RowPart)));
  w.bytes = used;
  w.raw = reinterpret_cast<float*>(take(0));
  return w;
}

SIMT_HOST_DEVICE bool IsAdjusted(const SampleSpec& spec) {
  return spec.bias_begin < spec.bias_end || spec.banned_begin < spec.banned_end ||
         spec.seen_begin < spec.seen_end || spec.sees_slot != 0;
}

// Orders as the numbers do.
SIMT_HOST_DEVICE uint32_t OrderOf(float logit) {
  const uint32_t bits = BitsOfFloat(logit + 0.0F);  // -0 is 0
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
SIMT_HOST_DEVICE float FloatOfOrder(uint32_t order) {
  return FloatFromBits((order & 0x80000000U) != 0 ? order & 0x7FFFFFFFU : ~order);
}
// Orders as (logit, then lower id); no two tokens have the same.
SIMT_HOST_DEVICE uint64_t KeyOf(float logit, int32_t id) {
  return uint64_t{OrderOf(logit)} << 32 | static_cast<uint32_t>(~id);
}

SIMT_HOST_DEVICE double Tempered(float logit, float max, float temperature) {
  return (static_cast<double>(logit) - static_cast<double>(max)) / static_cast<double>(temperature);
}

SIMT_DEVICE bool IsInvalid(float logit) { return !(logit <= 3.4028235e38F); }

// Calls use(id, four logits, how many of them count) for columns [begin, end) of a row,
// shared by the threads of the block. `begin` is a multiple of four.
template <class Use>
SIMT_DEVICE void ForLogits(const float* row, int32_t begin, int32_t end, Use use) {
  const bool aligned = reinterpret_cast<uintptr_t>(row) % 16 == 0;
  for (int32_t i = begin + 4 * static_cast<int32_t>(ThreadX()); i < end;
       i += 4 * static_cast<int32_t>(BlockDimX())) {
    const int32_t count = end - i < 4 ? end - i : 4;
    float v[4];
    if (aligned && count == 4) {
      LoadFloats<4>(row + i, v);
    } else {
      SIMT_UNROLL
      for (int j = 0; j < 4; ++j) v[j] = j < count ? row[i + j] : -FloatFromBits(0x7F800000U);
    }
    use(i, v, count);
  }
}

// The best of all threads' bests, known to thread 0.
template <class T>
SIMT_DEVICE Best<T> BlockBest(Best<T> own, Best<T>* scratch) {
  SIMT_UNROLL
  for (unsigned n = kWarpSize / 2; n > 0; n /= 2) {
    const Best<T> other = {ShflXor(own.value, n), ShflXor(own.id, n)};
    if (IsBetter(other, own)) own = other;
  }
  if (Lane() == 0) scratch[Warp()] = own;
  SyncThreads();
  for (unsigned w = 0; w < BlockDimX() / kWarpSize; ++w) {
    if (IsBetter(scratch[w], own)) own = scratch[w];
  }
  return own;
}

}  // namespace inferd::cuda
