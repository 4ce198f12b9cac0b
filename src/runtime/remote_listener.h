#pragma once

#include <string>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"
#include "inferd/runtime/process_executor.h"

namespace inferd::runtime {

// "host:port", with brackets where they are needed.
std::string JoinAddress(const std::string& host, int port);

// A non-blocking socket that listens on the one address that the leader's name stands for.
// UNAVAILABLE, naming it, when it cannot be had; INVALID_ARGUMENT when it means all of them.
StatusOr<UniqueFd> ListenForRanks(const RemoteRanks& remote);

}  // namespace inferd::runtime
