#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/sample_arguments.h"
#include "backends/ref/ref_sampling.h"
#include "inferd/ops/sampling.h"

namespace inferd {

// Draws tokens from logits on the device: what a step's rows ask for goes there in one
// copy, the tokens come back in one. Tokens stay on the device as well, by slot, for steps
// planned before they have come back: kMaxSteps steps may be between Begin and Finish, each
// with pinned memory of its own. Rows the kernels do not take (more logprobs than they have
// room for, lists longer than the room) are drawn on the host by the reference's sampler,
// with the whole step, for which Begin waits. The rank's thread.
class DeviceSampler {
 public:
  explicit DeviceSampler(Device& device) : device_(device) {}

  // What Prepare and PrepareSlots take of the device's memory for so many rows and slots; without
  // a vocabulary nothing is drawn.
  static int64_t DeviceBytes(int32_t max_rows, int32_t vocabulary);

  // Takes memory for steps of up to `max_rows` rows; again when there are more.
  void Prepare(int32_t max_rows, int32_t vocabulary);
  // Takes memory for the tokens of that many slots; again when there are more.
  void PrepareSlots(int32_t num_slots);
  // [num_slots] on the device: what was drawn last for each.
  const int32_t* drawn() const { return reinterpret_cast<const int32_t*>(drawn_.data()); }
  int32_t num_slots() const { return static_cast<int32_t>(drawn_.size() / sizeof(int32_t)); }

  // Enqueues; `out` is the sampler's until Finish. `logits` are f32 [rows.size(),
  // vocabulary] on the device and overwritten.
  void Begin(float* logits, int32_t vocabulary, std::span<const SampleRow> rows,
             std::span<SampleOutput> out);
  // The device has done what the oldest Begin enqueued: the answers go to its `out`,
  // unless `done` says it failed.
  void Finish(bool done);

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
  struct Turn;
  void Launch(float* logits, const Layout& layout, Turn* turn);
  void DrawOnHost(const float* logits, std::span<const SampleRow> rows,
                  std::span<SampleOutput> out);

  Device& device_;
  int32_t max_rows_ = 0;
  int32_t vocabulary_ = 0;
  bool has_raw_room_ = false;
  SampleArguments arguments_;
  RefSamplerMemory host_;
  std::vector<float> host_logits_;
  std::vector<TokenId> history_;
  Buffer sent_on_device_;
  Buffer results_on_device_;
  Buffer workspace_;
  Buffer drawn_;
  // A step's own, until its results are taken.
  struct Turn {
    PinnedBuffer sent;     // as Layout
    PinnedBuffer results;  // results, then ids and logprobs of the likeliest
    std::span<SampleOutput> out;
    bool on_host = false;  // and drawn already
    std::vector<uint8_t> wants_logprobs;
  };
  std::array<Turn, kMaxSteps> turns_;
  size_t oldest_ = 0;
  size_t pending_ = 0;
  int64_t drawn_on_host_ = 0;
};

}  // namespace inferd
