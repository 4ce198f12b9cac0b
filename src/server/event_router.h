#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "inferd/engine/engine.h"
#include "server/live_request.h"

namespace inferd {

// Who takes the events of one request. Both calls come from the one detokenizer
// thread that the request hashes to; neither may wait.
class EventTarget {
 public:
  virtual ~EventTarget() = default;
  virtual void OnEvent(TokenEvent&& event) = 0;
  // All events that were there have been given; what they made can go out.
  virtual void OnBatchEnd() = 0;
  // The server is stopping, or an operator asks: end with this status. Any thread.
  virtual void Abort(const Status& status) = 0;
  // Any thread; may be behind the truth by a moment.
  virtual LiveRequest Describe() const = 0;
};

// Carries events from the engine thread to detokenizer threads, one per request.
// Post only appends to a list under a lock that is never held during work, so
// the engine does not wait; what can pile up is bounded by the tokens that live
// requests may generate. Events of unknown requests are dropped.
class EventRouter final : public OutputSink {
 public:
  explicit EventRouter(int num_threads);
  ~EventRouter() override;

  void Post(std::vector<TokenEvent>&& events) override;

  // Any thread. Register before the request is submitted.
  void Register(RequestId id, std::shared_ptr<EventTarget> target);
  void Unregister(RequestId id);
  // All that are registered. They may have ended since.
  std::vector<std::shared_ptr<EventTarget>> Targets() const;
  // Aborts every registered request.
  void AbortAll(const Status& status);

 private:
  struct Lane {
    std::mutex mutex;
    std::condition_variable not_empty;
    std::vector<TokenEvent> inbox;                                        // guarded by mutex
    std::unordered_map<RequestId, std::shared_ptr<EventTarget>> targets;  // guarded by mutex
    bool stop = false;                                                    // guarded by mutex
    std::thread thread;
  };

  Lane& LaneOf(RequestId id) { return *lanes_[id % lanes_.size()]; }
  static void Run(Lane& lane);

  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace inferd
