#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace inferd {

enum class CallOutcome : uint8_t { kFinished, kFailed, kCancelled };

struct RequestCounts {
  uint64_t accepted = 0;
  uint64_t finished = 0;
  uint64_t failed = 0;
  uint64_t cancelled = 0;
  uint64_t live = 0;
};

// Counts requests so that accepted = finished + failed + cancelled + live in
// every snapshot, and closes the door at shutdown. Thread-safe.
class Accounting {
 public:
  // False once closed; nothing is counted then.
  bool TryAccept() {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    ++counts_.accepted;
    ++counts_.live;
    return true;
  }

  // Exactly once for every accepted request.
  void End(CallOutcome outcome) {
    std::lock_guard lock(mutex_);
    --counts_.live;
    if (outcome == CallOutcome::kFinished) ++counts_.finished;
    if (outcome == CallOutcome::kFailed) ++counts_.failed;
    if (outcome == CallOutcome::kCancelled) ++counts_.cancelled;
    if (counts_.live == 0) idle_.notify_all();
  }

  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }

  // Waits until nothing is live; false when `timeout` passed first.
  bool WaitIdle(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, timeout, [this] { return counts_.live == 0; });
  }

  RequestCounts Snapshot() const {
    std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  RequestCounts counts_;
  bool closed_ = false;
};

}  // namespace inferd
