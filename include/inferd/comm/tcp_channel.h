// Host channels between hosts. Both sides prove that they have the same key, and every
// message carries a tag under a key of this connection; nothing is encrypted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/comm/host_channel.h"

namespace inferd {

// A rank with this epoch takes that of the engine it connects to.
inline constexpr uint64_t kEpochOfEngine = ~uint64_t{0};

struct TcpChannelOptions {
  HostChannelOptions channel;
  // "host:port" or "[v6 address]:port" of the engine: one address, not all of them.
  std::string address;
  // Secret of the deployment, at least 16 bytes.
  std::string key;
  int num_ranks = 1;  // the same on all; at most kMaxRanks
  // How long it may take until all are connected.
  int64_t timeout_us = 60'000'000;
  // Either end says every fifth of this that it lives, whatever its owner does, and
  // breaks the channel when the other has not been heard for longer, in time that it was awake
  // itself. At least 100'000, the same on both ends; 0: there is no heartbeat.
  int64_t silence_us = 0;
  // Called when the other end says HostChannel::Alert(), soon even when nobody receives, by
  // whatever thread hears it; must not use the channel. Only with a heartbeat.
  std::function<void()> on_alert;
};

// Listens until ranks 0 to num_ranks - 1 are connected; element r leads to rank r.
// Refused are a wrong key, version, epoch, number of ranks or heartbeat, and a second connection
// of a rank: the first stays, unless its other end is gone. Whoever does not prove itself within
// half a second is cut off and keeps nobody out. DEADLINE_EXCEEDED names the missing ranks and why
// the last one was refused. `listen_fd`: a non-blocking socket that already listens (it stays the
// caller's), or -1 to listen on the address for as long as this call takes. `goes_on`,
// unless empty, is asked every few milliseconds: an error of its ends the call. `clock`
// outlives the result.
StatusOr<std::vector<std::unique_ptr<HostChannel>>> AcceptTcpChannels(
    const TcpChannelOptions& options, int listen_fd, EntropySource& entropy, const Clock& clock,
    const std::function<Status()>& goes_on = {});

// Connects as `rank`, trying again until it is let in or the time is over. `clock`
// outlives the result.
StatusOr<std::unique_ptr<HostChannel>> ConnectTcpChannel(const TcpChannelOptions& options, int rank,
                                                         EntropySource& entropy,
                                                         const Clock& clock);

}  // namespace inferd
