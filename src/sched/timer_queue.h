#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

#include "inferd/base/ids.h"

namespace inferd {

// Requests by the time at which something happens to them. Engine thread only.
// O(log n) to add and remove; nothing to pay while nothing is due.
class TimerQueue {
 public:
  void Add(int64_t due_us, RequestId id) { due_.emplace(due_us, id); }
  void Remove(int64_t due_us, RequestId id) { due_.erase({due_us, id}); }
  // Removes one that is due and names it in `id`; false when there is none.
  bool PopDue(int64_t now_us, RequestId& id);
  size_t size() const { return due_.size(); }

 private:
  std::set<std::pair<int64_t, RequestId>> due_;
};

}  // namespace inferd
