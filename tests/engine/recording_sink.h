#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "inferd/engine/engine.h"

namespace inferd::testing {

// Keeps every event; any thread may wait for what it needs.
class RecordingSink final : public OutputSink {
 public:
  using Choice = std::pair<RequestId, int32_t>;

  void Post(std::vector<TokenEvent>&& events) override {
    std::lock_guard lock(mutex_);
    for (TokenEvent& e : events) by_choice_[{e.request, e.choice}].push_back(std::move(e));
    changed_.notify_all();
  }

  // Waits for the choice's end; all its events.
  std::vector<TokenEvent> WaitForEnd(RequestId request, int32_t choice = 0) {
    std::unique_lock lock(mutex_);
    std::vector<TokenEvent>& events = by_choice_[{request, choice}];
    changed_.wait(lock,
                  [&] { return !events.empty() && events.back().finish != FinishReason::kNone; });
    return events;
  }
  FinishReason WaitForFinish(RequestId request, int32_t choice = 0) {
    return WaitForEnd(request, choice).back().finish;
  }
  void WaitForTokens(RequestId request, size_t count, int32_t choice = 0) {
    std::unique_lock lock(mutex_);
    std::vector<TokenEvent>& events = by_choice_[{request, choice}];
    changed_.wait(lock, [&] { return events.size() >= count; });
  }
  std::vector<TokenEvent> Events(RequestId request, int32_t choice = 0) {
    std::lock_guard lock(mutex_);
    return by_choice_[{request, choice}];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Choice, std::vector<TokenEvent>> by_choice_;
};

}  // namespace inferd::testing
