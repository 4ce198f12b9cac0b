#include "backends/cpu/worker_bench.h"

#include <algorithm>
#include <limits>

namespace inferd {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
// Help counts for less than its face value: two threads that read memory are rarely
// twice as fast as one, and a stall also makes a token late.
constexpr int64_t kHelpPerWait = 2;

}  // namespace

WorkerBench::WorkerBench(int workers)
    : workers_(static_cast<size_t>(std::max(0, workers))),
      active_(std::max(0, workers)),
      next_recall_ns_(kNever) {}

void WorkerBench::Recall(int64_t now_ns) {
  if (now_ns < next_recall_ns_) return;
  next_recall_ns_ = kNever;
  for (Worker& worker : workers_) {
    if (worker.active) continue;
    if (now_ns < worker.until_ns) {
      next_recall_ns_ = std::min(next_recall_ns_, worker.until_ns);
      continue;
    }
    worker.active = true;
    worker.since_ns = now_ns;
    worker.waited_ns = 0;
    ++active_;
  }
}

int WorkerBench::Record(const Job& job) {
  Age(job.now_ns);
  helped_ns_ += job.helped_ns;
  if (job.last_worker < 0 || job.wait_ns < kStallNs) return -1;
  Worker& worker = workers_[static_cast<size_t>(job.last_worker)];
  // It may have claimed a last piece on its way out.
  if (!worker.active) return -1;
  worker.waited_ns += job.wait_ns;
  // Without it the others would do its share of the help, side by side.
  const int64_t saved_ns = helped_ns_ / (int64_t{active_} * active_);
  if (worker.waited_ns * kHelpPerWait <= saved_ns) return -1;
  worker.active = false;
  --active_;
  worker.until_ns = job.now_ns + worker.next_leave_ns;
  worker.next_leave_ns = std::min(2 * worker.next_leave_ns, kLongestLeaveNs);
  next_recall_ns_ = std::min(next_recall_ns_, worker.until_ns);
  return job.last_worker;
}

void WorkerBench::Age(int64_t now_ns) {
  const int64_t windows = (now_ns - aged_ns_) / kWindowNs;
  if (windows <= 0) return;
  aged_ns_ += windows * kWindowNs;
  const auto halvings = static_cast<int>(std::min<int64_t>(windows, 62));
  helped_ns_ >>= halvings;
  for (Worker& worker : workers_) {
    worker.waited_ns >>= halvings;
    if (worker.active && now_ns - worker.since_ns >= kTrustNs) {
      worker.since_ns = now_ns;
      worker.next_leave_ns = std::max(worker.next_leave_ns / 2, kFirstLeaveNs);
    }
  }
}

}  // namespace inferd
