// Rows to be sampled as the device's sampler takes them. The rank's thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cuda/sample.h"
#include "inferd/ops/sampling.h"

namespace inferd {

// Whether the row's penalties concern a token that only the device knows.
bool LooksAtSlot(const SampleRow& row);

// Host arrays that go to the device as they are; kept from step to step.
class SampleArguments {
 public:
  // Of logits [rows.size(), vocab].
  void Set(std::span<const SampleRow> rows, int64_t vocab);

  // Whether the device's sampler takes the rows; it has a limit on logprobs.
  bool fits() const { return fits_; }
  const std::vector<cuda::SampleSpec>& specs() const { return specs_; }
  const std::vector<int32_t>& bias_ids() const { return bias_ids_; }
  const std::vector<float>& bias_values() const { return bias_values_; }
  const std::vector<int32_t>& banned_ids() const { return banned_ids_; }
  const std::vector<int32_t>& seen_ids() const { return seen_ids_; }
  const std::vector<int32_t>& seen_counts() const { return seen_counts_; }
  // Sets which kernels are needed, and nothing else.
  void SetFlags(cuda::SampleParams* params) const;
  // Whether a row is adjusted and wants logprobs: the workspace then needs raw logits.
  bool needs_raw() const { return needs_raw_; }

 private:
  void AddSeen(const SampleRow& row, int64_t vocab);

  std::vector<cuda::SampleSpec> specs_;
  std::vector<int32_t> bias_ids_;
  std::vector<float> bias_values_;
  std::vector<int32_t> banned_ids_;
  std::vector<int32_t> seen_ids_;
  std::vector<int32_t> seen_counts_;
  std::vector<int32_t> counts_;  // [vocab], all zero between rows
  bool fits_ = true;
  bool needs_raw_ = false;
  bool any_logprobs_ = false;
  bool any_adjusted_ = false;
  bool any_drawn_ = false;
  bool any_ranked_ = false;
};

}  // namespace inferd
