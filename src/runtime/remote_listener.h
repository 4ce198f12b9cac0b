#pragma once

#include "inferd/base/status.h"
#include "inferd/runtime/process_executor.h"
#include "runtime/unique_fd.h"

namespace inferd::runtime {

// A non-blocking socket that listens on the one address that the first host's name
// stands for. UNAVAILABLE, naming it, when it cannot be had.
StatusOr<UniqueFd> ListenForRanks(const RemoteRanks& remote);

}  // namespace inferd::runtime
