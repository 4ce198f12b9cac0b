// The rank's side of a channel over shared memory, for shared_memory_channel_test:
// sends every message back, until the channel breaks or one is of kind 99, at which it
// kills itself in the middle of things.
//
//   channel_peer SEGMENT_FD EPOCH
#include <csignal>
#include <cstdlib>
#include <vector>

#include "inferd/comm/shared_memory_channel.h"

int main(int argc, char** argv) {
  using namespace inferd;  // NOLINT(google-build-using-namespace): a test's main
  if (argc != 3) return 101;
  const SystemClock clock;
  SharedMemoryChannelOptions options;
  options.channel.epoch = std::strtoull(argv[2], nullptr, 10);
  auto channel = OpenSharedMemoryChannel(std::atoi(argv[1]), HostSide::kRank, options, clock);
  if (!channel.ok()) return static_cast<int>(channel.status().code());
  for (;;) {
    const auto message = (*channel)->Receive(60'000'000);
    if (!message.ok()) return static_cast<int>(message.status().code());
    if (message->kind == 99) std::raise(SIGKILL);
    if (!(*channel)->Send(message->kind, message->payload).ok()) return 102;
  }
}
