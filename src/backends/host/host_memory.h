// How much memory this process may use: the machine's, or its control group's
// limit where that is lower. Any thread.
#pragma once

#include <cstdint>

namespace inferd {

struct HostMemory {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
};

HostMemory ReadHostMemory();

}  // namespace inferd
