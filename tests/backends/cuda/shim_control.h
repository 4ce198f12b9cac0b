#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "backends/cuda/nccl_api.h"
#include "backends/cuda/nccl_shim.h"
#include "inferd/base/check.h"

namespace inferd::testing {

// NCCL_SHIM as long as it lives. No other thread may be at it.
class ShimPlan {
 public:
  explicit ShimPlan(const std::string& words) {
    INFERD_CHECK(setenv("NCCL_SHIM", words.c_str(), 1) == 0);
  }
  ~ShimPlan() { (void)unsetenv("NCCL_SHIM"); }
  ShimPlan(const ShimPlan&) = delete;
  ShimPlan& operator=(const ShimPlan&) = delete;
};

// Of the library that the backend opened.
inline NcclShimCounts ShimCounts() {
  void* library = dlopen(nccl::kLibrary, RTLD_NOW | RTLD_LOCAL);
  INFERD_CHECK(library != nullptr);
  const auto ask =
      reinterpret_cast<NcclShimCountsFunction>(dlsym(library, "inferd_nccl_shim_counts"));
  INFERD_CHECK(ask != nullptr);
  NcclShimCounts counts;
  ask(&counts);
  return counts;
}

}  // namespace inferd::testing
