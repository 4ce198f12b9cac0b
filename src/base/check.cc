#include "inferd/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace inferd::internal {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace inferd::internal
