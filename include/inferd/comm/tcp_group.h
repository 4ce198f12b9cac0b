// Ranks on several hosts, each connected to each by TCP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/comm/communicator.h"

namespace inferd {

struct TcpGroupOptions {
  CommOptions comm;
  int rank = 0;
  // "host:port" or "[v6 address]:port" of every rank, in order: the whole group. Each
  // rank listens on its own and connects to those before it.
  std::vector<std::string> addresses;
  // A non-blocking socket that already listens on this rank's address (it stays the
  // caller's), or -1.
  int listen_fd = -1;
  // Ranks prove to each other that they have this key, of at least 16 bytes; every piece
  // of a message has a tag made with a key of its connection. Nothing is encrypted.
  std::string key;
  // Number of this attempt to form the group; ranks of another epoch are refused.
  uint64_t epoch = 0;
  // How long it may take until all are connected; 0: comm.timeout_us.
  int64_t join_timeout_us = 0;
};

// Connects to all other ranks, and returns once every rank has all of its connections. A call
// gets DATA_LOSS when something was changed on its way. DEADLINE_EXCEEDED names those that did
// not come, and why the last stranger was refused; UNAVAILABLE, at once, one that has left. `clock`
// outlives the result.
StatusOr<std::unique_ptr<Communicator>> ConnectTcpGroup(const TcpGroupOptions& options,
                                                        EntropySource& entropy, const Clock& clock);

}  // namespace inferd
