// Threads that ops lend to whoever reads and decodes weights for them.
#pragma once

#include <cstdint>
#include <functional>

#include "inferd/base/status.h"

namespace inferd {

class LoadThreads {
 public:
  virtual ~LoadThreads() = default;
  virtual int count() const = 0;  // at least one
  // Calls body(task) once for each task in [0, tasks), on any of them, and returns when none is
  // in it any more. After an error no task is begun; the first one is the answer. The loading
  // thread.
  virtual Status Run(int64_t tasks, const std::function<Status(int64_t task)>& body) = 0;
};

// Where there are none: the loading thread itself.
class NoLoadThreads final : public LoadThreads {
 public:
  int count() const override { return 1; }
  Status Run(int64_t tasks, const std::function<Status(int64_t task)>& body) override {
    for (int64_t task = 0; task < tasks; ++task) INFERD_RETURN_IF_ERROR(body(task));
    return OkStatus();
  }
};

}  // namespace inferd
