#include "sched/timer_queue.h"

namespace inferd {

bool TimerQueue::PopDue(int64_t now_us, RequestId& id) {
  if (due_.empty() || due_.begin()->first > now_us) return false;
  id = due_.begin()->second;
  due_.erase(due_.begin());
  return true;
}

}  // namespace inferd
