#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/sample_arguments.h"
#include "backends/ref/ref_sampling.h"
#include "inferd/ops/sampling.h"

namespace inferd {

// Draws tokens from logits on the device: what a step's rows ask for goes there in one
// copy, the tokens come back in one. Rows the kernels do not take (more logprobs than
// they have room for, lists longer than the room) are drawn on the host by the reference's
// sampler, with the whole step. The rank's thread.
class DeviceSampler {
 public:
  explicit DeviceSampler(Device& device) : device_(device) {}

  // Takes memory for steps of up to `max_rows` rows; again when there are more.
  void Prepare(int32_t max_rows, int32_t vocabulary);
  // Enqueues; `rows` and `out` stay the caller's until Finish. `logits` are f32
  // [rows.size(), vocabulary] on the device and overwritten.
  void Begin(float* logits, int32_t vocabulary, std::span<const SampleRow> rows,
             std::span<SampleOutput> out);
  // The device has done all: the answers go to `out`, unless `done` says it failed.
  void Finish(bool done);

  bool pending() const { return !rows_.empty(); }
  int64_t drawn_on_host() const { return drawn_on_host_; }

 private:
  // Where a list lies in what is sent, and everything's end, in bytes.
  struct Layout {
    size_t bias_ids;
    size_t bias_values;
    size_t banned_ids;
    size_t seen_ids;
    size_t seen_counts;
    size_t bytes;
  };
  Layout LayoutOf(const SampleArguments& arguments) const;
  void Launch(float* logits, const Layout& layout);
  void DrawOnHost();

  Device& device_;
  int32_t max_rows_ = 0;
  int32_t vocabulary_ = 0;
  bool has_raw_room_ = false;
  SampleArguments arguments_;
  RefSamplerMemory host_;
  std::vector<float> host_logits_;
  PinnedBuffer sent_;  // as Layout
  Buffer sent_on_device_;
  PinnedBuffer results_;  // results, then ids and logprobs of the likeliest
  Buffer results_on_device_;
  Buffer workspace_;
  // The step that is under way.
  std::span<const SampleRow> rows_;
  std::span<SampleOutput> out_;
  float* logits_ = nullptr;
  bool on_host_ = false;
  int64_t drawn_on_host_ = 0;
};

}  // namespace inferd
