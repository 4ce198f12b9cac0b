#pragma once

#include <memory>
#include <vector>

#include "inferd/comm/communicator.h"

namespace inferd {

// A group of `world_size` threads of this process; element r is rank r's end, to be
// called by one thread. They may be destroyed in any order; ranks that wait for one
// that was destroyed get UNAVAILABLE. `clock` outlives them.
StatusOr<std::vector<std::unique_ptr<Communicator>>> MakeThreadGroup(int world_size,
                                                                     const CommOptions& options,
                                                                     const Clock& clock);

}  // namespace inferd
