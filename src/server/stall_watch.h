#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_set>

namespace inferd {

// The streams whose writes are watched. Thread-safe. A stream may lock its own
// mutex in CheckStall, so it must not hold that while calling Add or Remove.
class StallWatch {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // Cancels the call when its write has been under way for too long.
    virtual void CheckStall(int64_t now_us) = 0;
  };

  void Add(Stream* stream) {
    std::lock_guard lock(mutex_);
    streams_.insert(stream);
  }
  // Afterwards CheckStall is not and will not be running on it.
  void Remove(Stream* stream) {
    std::lock_guard lock(mutex_);
    streams_.erase(stream);
  }
  void CheckAll(int64_t now_us) {
    std::lock_guard lock(mutex_);
    for (Stream* stream : streams_) stream->CheckStall(now_us);
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return streams_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<Stream*> streams_;
};

}  // namespace inferd
