// Which workers of a thread pool are worth having at the moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace inferd {

// A worker whose core another process shares is taken off it for milliseconds at a
// time, now and then while it holds a piece of a job; the caller can do nothing but
// wait. This class weighs that waiting against the work the worker takes over, sends
// it away when it costs more than it gives, and calls it back for a try after a
// leave that doubles with every failure. Starts no threads and reads no clock; for
// one thread.
class WorkerBench {
 public:
  // A shorter wait is the usual unevenness of a job's end, not a stall.
  static constexpr int64_t kStallNs = 100'000;
  // Evidence counts half after this time, a quarter after twice this, and so on.
  static constexpr int64_t kWindowNs = 20'000'000;
  static constexpr int64_t kFirstLeaveNs = 10'000'000;
  static constexpr int64_t kLongestLeaveNs = 1'280'000'000;
  // A worker that stayed this long is given half the leave next time.
  static constexpr int64_t kTrustNs = 200'000'000;

  struct Job {
    int64_t now_ns = 0;     // at its end
    int64_t wait_ns = 0;    // the caller had nothing left to do
    int64_t helped_ns = 0;  // what the workers' part would have cost the caller
    int last_worker = -1;   // who finished last; -1: the caller
  };

  explicit WorkerBench(int workers);

  int active() const { return active_; }
  bool active(int worker) const { return workers_[static_cast<size_t>(worker)].active; }
  // When Recall next has something to do; INT64_MAX when nobody is away.
  int64_t next_recall_ns() const { return next_recall_ns_; }

  // Calls back those whose leave is over.
  void Recall(int64_t now_ns);
  // The worker that this job sends away, or -1.
  int Record(const Job& job);

 private:
  struct Worker {
    bool active = true;
    int64_t waited_ns = 0;  // for it, in the window
    int64_t next_leave_ns = kFirstLeaveNs;
    int64_t since_ns = 0;  // active: called back, or trusted more
    int64_t until_ns = 0;  // away: end of the leave
  };

  void Age(int64_t now_ns);

  std::vector<Worker> workers_;
  int active_;
  int64_t helped_ns_ = 0;  // by all workers, in the window
  int64_t aged_ns_ = 0;
  int64_t next_recall_ns_;
};

}  // namespace inferd
