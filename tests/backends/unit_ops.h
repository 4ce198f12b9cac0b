// The CPU backend's linear layers on each unit that multiplies bf16.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "backends/cpu/cpu_ops.h"
#include "cpu/linear_bf16.h"
#include "inferd/base/clock.h"

namespace inferd::testing {

// Those that run here, the emulated one included.
inline std::vector<kernels::Bf16Unit> Bf16Units() {
  using kernels::Bf16Unit;
  std::vector<Bf16Unit> units;
  for (const Bf16Unit unit :
       {Bf16Unit::kWiden, Bf16Unit::kPairs, Bf16Unit::kTiles, Bf16Unit::kEmulatedTiles}) {
    if (kernels::Bf16UnitRuns(unit)) units.push_back(unit);
  }
  return units;
}

// Ops on one unit, or none, with scratch for many rows.
class UnitOps {
 public:
  explicit UnitOps(std::optional<kernels::Bf16Unit> unit, int threads = 3)
      : ops_({threads, {}}, clock_, unit) {
    const int64_t bytes = ops_.ScratchBytes(512, 64, 2048, 1);
    auto scratch = Buffer::Create(ops_.allocator(), static_cast<size_t>(bytes));
    INFERD_CHECK(scratch.ok());
    scratch_ = std::move(*scratch);
    ops_.SetScratch({scratch_.data(), DType::kU8, {bytes}});
  }
  CpuOps& operator*() { return ops_; }

  // x: [rows, inputs].
  std::vector<float> Linear(const LinearWeight& weight, const std::vector<float>& x) {
    const auto rows = static_cast<int64_t>(x.size()) / weight.in_features;
    std::vector<float> out(static_cast<size_t>(rows * weight.out_features), NAN);
    ops_.Linear({const_cast<float*>(x.data()), DType::kF32, {rows, weight.in_features}}, weight,
                {out.data(), DType::kF32, {rows, weight.out_features}});
    return out;
  }

 private:
  SystemClock clock_;
  CpuOps ops_;
  Buffer scratch_;
};

}  // namespace inferd::testing
