// What the machine lets this process use of its cores.
#pragma once

#include <string>
#include <vector>

#include "inferd/backends/backend.h"

namespace inferd {

struct CpuBudget {
  std::vector<int> cores;  // the affinity mask, ascending; never empty
  double quota = 0;        // cores' worth of time its control groups allow; 0: no limit
};

// Reads the mask of the calling thread and the quotas below `root` (that is "/"),
// of control groups of either version.
CpuBudget ReadCpuBudget(const std::string& root);
// 0: no limit.
double ReadCpuQuota(const std::string& root);

struct CpuChoice {
  int threads = 1;
  std::vector<int> cores;  // for the workers; empty: unpinned
};

// `threads` 0: as many as the budget has room for. One of eight cores or more is
// left to the threads that serve; of fewer none, for they need little.
CpuChoice ChooseCpus(const CpuBudget& budget, int threads, ThreadPinning pinning);

// The part of one of `ranks` ranks that share what was chosen: a thread at least, and
// cores of its own for the workers where there are enough.
CpuChoice ShareCpus(const CpuChoice& all, int rank, int ranks);

}  // namespace inferd
