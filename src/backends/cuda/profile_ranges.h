// Names steps and layers to a profiler, as NVTX ranges of the domain "inferd".
#pragma once

#include <cstdint>

namespace inferd {

// Ranges of the thread that enqueues a rank's work. Without a profiler each call looks at
// one pointer. The rank's thread.
class ProfileRanges {
 public:
  // `layers`: whether layers have ranges within those of steps.
  explicit ProfileRanges(bool layers);
  ~ProfileRanges();
  ProfileRanges(const ProfileRanges&) = delete;
  ProfileRanges& operator=(const ProfileRanges&) = delete;

  // The range "step", with the number of tokens as its payload; ends one that is open.
  void BeginStep(int32_t num_tokens);
  // The range "record", of a step that is only recorded.
  void BeginPreparing(int32_t num_tokens);
  // The range "layer", with its number, inside of that of a step; ends that of the layer before.
  void BeginLayer(int32_t layer);
  // Ends what is open.
  void EndStep();

 private:
  void Begin(const char* name, int32_t payload);

  const bool layers_;
  int open_ = 0;  // ranges, at most a step's and a layer's
};

}  // namespace inferd
