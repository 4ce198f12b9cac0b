// Kernels on one instruction set at a time.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "cpu/common.h"
#include "hwy/targets.h"

namespace inferd::testing {

// Allows one instruction set only, until destroyed.
class OnlyTarget {
 public:
  explicit OnlyTarget(int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~OnlyTarget() { hwy::SetSupportedTargetsForTest(0); }
};

// Those of this machine that lead to kernels of their own: for the others the
// least one compiled is taken.
inline std::vector<int64_t> Targets() {
  std::vector<int64_t> targets;
  std::set<std::string> names;
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const OnlyTarget only(left & -left);
    if (names.insert(kernels::TargetName()).second) targets.push_back(left & -left);
  }
  return targets;
}

}  // namespace inferd::testing
