#include "serve_load/run.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "serve_load/work.h"

namespace inferd::bench {
namespace {

// Counts the requests in flight; the starter waits for places or for all.
class InFlight {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void Remove() {
    const std::lock_guard lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  void WaitBelow(int32_t limit) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ < limit; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t count_ = 0;
};

}  // namespace

RunRecord RunLoad(const LoadOptions& options, int32_t vocab_size, Target& target) {
  const std::vector<Work> work = PlanWork(options, vocab_size);
  RunRecord run;
  run.requests.resize(work.size());
  InFlight in_flight;
  const SteadyClock::time_point start = SteadyClock::now();
  for (size_t i = 0; i < work.size(); ++i) {
    RequestRecord& record = run.requests[i];
    record.prompt_tokens = static_cast<int32_t>(work[i].prompt.size());
    if (options.rate > 0) {
      std::this_thread::sleep_until(start + std::chrono::duration_cast<SteadyClock::duration>(
                                                std::chrono::duration<double>(work[i].due)));
      record.due = work[i].due;
    } else {
      in_flight.WaitBelow(options.concurrency);
      record.due = SecondsSince(start);
    }
    in_flight.Add();
    target.Begin(work[i], start, record, [&in_flight] { in_flight.Remove(); });
  }
  in_flight.WaitBelow(1);
  run.seconds = SecondsSince(start);
  return run;
}

}  // namespace inferd::bench
