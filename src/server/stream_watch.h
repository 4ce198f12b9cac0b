#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace inferd {

// The streams that something must be done about when nothing happens on them: writes
// that do not end, clients that hear nothing. Thread-safe.
class StreamWatch {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // Now and then, from a thread of its own that holds no locks.
    virtual void CheckTime(int64_t now_us) = 0;
  };

  // Watched for as long as it lives.
  void Add(std::weak_ptr<Stream> stream) {
    std::lock_guard lock(mutex_);
    streams_.push_back(std::move(stream));
  }

  void CheckAll(int64_t now_us) {
    std::vector<std::shared_ptr<Stream>> live;
    {
      std::lock_guard lock(mutex_);
      live.reserve(streams_.size());
      const auto gone = [&](const std::weak_ptr<Stream>& stream) {
        std::shared_ptr<Stream> held = stream.lock();
        if (held == nullptr) return true;
        live.push_back(std::move(held));
        return false;
      };
      streams_.erase(std::remove_if(streams_.begin(), streams_.end(), gone), streams_.end());
    }
    for (const std::shared_ptr<Stream>& stream : live) stream->CheckTime(now_us);
  }

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<Stream>> streams_;  // guarded by mutex_; some may be gone
};

}  // namespace inferd
