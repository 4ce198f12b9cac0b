#pragma once

#include <span>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd::runtime {

inline constexpr size_t kMaxMessageFds = 16;
inline constexpr size_t kMaxFdMessageBytes = 16 << 10;

// One message over a SOCK_SEQPACKET socket, with descriptors, which the receiver gets
// copies of. UNAVAILABLE when the other side is gone.
Status SendWithFds(int socket, std::span<const std::byte> bytes, std::span<const int> fds);

struct FdMessage {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> fds;
};
// Waits for one.
StatusOr<FdMessage> ReceiveWithFds(int socket);

}  // namespace inferd::runtime
