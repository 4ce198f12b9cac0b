#include "server/event_router.h"

#include <algorithm>
#include <utility>

namespace inferd {

EventRouter::EventRouter(int num_threads) {
  for (int i = 0; i < std::max(num_threads, 1); ++i) lanes_.push_back(std::make_unique<Lane>());
  for (auto& lane : lanes_) lane->thread = std::thread([&lane] { Run(*lane); });
}

EventRouter::~EventRouter() {
  for (auto& lane : lanes_) {
    {
      std::lock_guard lock(lane->mutex);
      lane->stop = true;
    }
    lane->not_empty.notify_one();
  }
  for (auto& lane : lanes_) lane->thread.join();
}

void EventRouter::Post(std::vector<TokenEvent>&& events) {
  for (auto& lane : lanes_) {
    bool any = false;
    {
      std::lock_guard lock(lane->mutex);
      for (TokenEvent& event : events) {
        if (&LaneOf(event.request) != lane.get()) continue;
        lane->inbox.push_back(std::move(event));
        any = true;
      }
    }
    if (any) lane->not_empty.notify_one();
  }
}

void EventRouter::Register(RequestId id, std::shared_ptr<EventTarget> target) {
  Lane& lane = LaneOf(id);
  std::lock_guard lock(lane.mutex);
  lane.targets.emplace(id, std::move(target));
}

void EventRouter::Unregister(RequestId id) {
  Lane& lane = LaneOf(id);
  std::shared_ptr<EventTarget> dropped;  // destroyed outside the lock
  std::lock_guard lock(lane.mutex);
  const auto it = lane.targets.find(id);
  if (it == lane.targets.end()) return;
  dropped = std::move(it->second);
  lane.targets.erase(it);
}

std::vector<std::shared_ptr<EventTarget>> EventRouter::Targets() const {
  std::vector<std::shared_ptr<EventTarget>> all;
  for (const auto& lane : lanes_) {
    std::lock_guard lock(lane->mutex);
    for (const auto& [id, target] : lane->targets) all.push_back(target);
  }
  return all;
}

void EventRouter::AbortAll(const Status& status) {
  for (const auto& target : Targets()) target->Abort(status);
}

void EventRouter::Run(Lane& lane) {
  std::vector<TokenEvent> events;
  std::unordered_map<RequestId, std::shared_ptr<EventTarget>> touched;
  for (;;) {
    {
      std::unique_lock lock(lane.mutex);
      lane.not_empty.wait(lock, [&] { return lane.stop || !lane.inbox.empty(); });
      if (lane.inbox.empty()) return;
      events.swap(lane.inbox);
      for (const TokenEvent& event : events) {
        const auto it = lane.targets.find(event.request);
        if (it != lane.targets.end()) touched.emplace(event.request, it->second);
      }
    }
    for (TokenEvent& event : events) {
      const auto it = touched.find(event.request);
      if (it != touched.end()) it->second->OnEvent(std::move(event));
    }
    for (auto& [id, target] : touched) target->OnBatchEnd();
    touched.clear();
    events.clear();
  }
}

}  // namespace inferd
