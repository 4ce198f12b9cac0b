// How much memory this process may use: the machine's, or its control groups'
// limit where that is lower. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace inferd {

struct HostMemory {
  int64_t total_bytes = 0;
  // What can be had without swapping; the page cache counts as free, in a group as well.
  // 0: nothing is left.
  int64_t available_bytes = 0;
};

// Of control groups of either version, those above the process's own included. `root`
// is "/" except in tests.
HostMemory ReadHostMemory(const std::string& root = "/");

}  // namespace inferd
