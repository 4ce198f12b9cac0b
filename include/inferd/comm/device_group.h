// Ranks that each have a device, and exchange what is in the devices' memory.
#pragma once

#include <cstdint>
#include <string>

#include "inferd/base/status.h"
#include "inferd/comm/communicator.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

struct DeviceGroupOptions {
  // How long the ranks may take to come together.
  int64_t connect_timeout_us = 120'000'000;
  // How long a device may be waited for in a step that concerns other ranks.
  int64_t step_timeout_us = 60'000'000;
  // How long giving up may take.
  int64_t abort_timeout_us = 5'000'000;
};

// A communicator whose calls, but for Barrier, take memory of the device and are enqueued
// among the ops of the backend that made it (Ops::MakeGroup): they return before they are
// done, and wait for nobody. What goes wrong later, or does not end in time, is the status
// of the ops' next Finish, which then does not wait any longer, and of every later call.
//
// Sums are the devices' own: every rank gets the same bits, in an order that may depend on
// the size of the message where there are more than two ranks.
//
// The rank's thread, which also destroys it, before the ops; Abort() by any.
class DeviceGroup : public Communicator {
 public:
  // Comes together with the other ranks, over the group that it was made from. By all of
  // them, once, before the other calls, which until then answer FAILED_PRECONDITION.
  virtual Status Connect() = 0;
  // Memory that the devices may exchange in the quickest way they know, if all ranks take
  // the same sizes in the same order, before Connect(). Outlived by the group.
  virtual Allocator& memory() = 0;
  // Once connected, for the log: the library and its version, and the memory it knows of.
  virtual std::string Description() const = 0;
};

}  // namespace inferd
