#include "backends/cpu/cpu_budget.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "inferd/base/control_groups.h"

namespace inferd {
namespace {

constexpr int kManyCores = 8;

// The smaller limit; 0 is none.
double Tighter(double a, double b) {
  if (a <= 0 || b <= 0) return std::max(a, b);
  return std::min(a, b);
}

// Cores' worth of time; 0 is no limit.
double QuotaOf(const ControlGroup& group) {
  if (group.version == 2) {
    // "max 100000" or "150000 100000", in microseconds.
    std::ifstream file(group.directory + "/cpu.max");
    double quota = 0;
    double period = 0;
    return file >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
  }
  // -1 is no limit.
  const auto quota =
      static_cast<double>(NumberInFile(group.directory + "/cpu.cfs_quota_us").value_or(0));
  const auto period =
      static_cast<double>(NumberInFile(group.directory + "/cpu.cfs_period_us").value_or(0));
  return quota > 0 && period > 0 ? quota / period : 0;
}

std::vector<int> AffinityMask() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(static_cast<size_t>(core), &set)) cores.push_back(core);
    }
  }
  // More cores than a cpu_set_t names: take the first ones.
  const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (int core = 0; cores.empty() && core < count; ++core) cores.push_back(core);
  return cores;
}

}  // namespace

double ReadCpuQuota(const std::string& root) {
  double quota = 0;
  for (const ControlGroup& group : FindControlGroups("cpu", root)) {
    quota = Tighter(quota, QuotaOf(group));
  }
  return quota;
}

CpuBudget ReadCpuBudget(const std::string& root) { return {AffinityMask(), ReadCpuQuota(root)}; }

CpuChoice ChooseCpus(const CpuBudget& budget, int threads, ThreadPinning pinning) {
  const int cores = static_cast<int>(budget.cores.size());
  CpuChoice choice;
  if (threads > 0) {
    choice.threads = threads;
  } else {
    const int whole = budget.quota > 0 ? std::max(1, static_cast<int>(budget.quota)) : cores;
    const int room = std::min(cores, whole);
    choice.threads = room >= kManyCores ? room - 1 : room;
  }
  // By itself only where every other thread of the process still finds a core: a
  // pinned thread cannot get out of anybody's way.
  const bool pin =
      pinning == ThreadPinning::kOn || (pinning == ThreadPinning::kAuto && budget.quota <= 0 &&
                                        cores >= kManyCores && choice.threads < cores);
  // The caller is never pinned and likes the first core.
  if (pin && cores > 1) choice.cores.assign(budget.cores.begin() + 1, budget.cores.end());
  return choice;
}

CpuChoice ShareCpus(const CpuChoice& all, int rank, int ranks) {
  if (ranks == 1) return all;
  CpuChoice share;
  share.threads = std::max(1, all.threads / ranks + (rank < all.threads % ranks ? 1 : 0));
  const auto workers = static_cast<size_t>(share.threads - 1);
  // As far apart as the most workers a rank has, and a core for each caller.
  const size_t stride = static_cast<size_t>((all.threads + ranks - 1) / ranks);
  const size_t first = static_cast<size_t>(rank) * stride;
  if (workers > 0 && first + workers <= all.cores.size()) {
    share.cores.assign(all.cores.begin() + static_cast<std::ptrdiff_t>(first),
                       all.cores.begin() + static_cast<std::ptrdiff_t>(first + workers));
  }
  return share;
}

}  // namespace inferd
