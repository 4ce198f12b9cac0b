// What one message of a host channel takes from one process to another: half of the
// median round trip, by kind and size.
//
//   channel_bench
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/comm/shared_memory_channel.h"
#include "inferd/comm/tcp_channel.h"

namespace inferd {
namespace {

constexpr std::array<size_t, 5> kSizes = {64, 1 << 10, 4 << 10, 64 << 10, 1 << 20};
constexpr int kRoundTrips = 2001;
constexpr int kWarmUp = 200;
constexpr int64_t kTimeoutUs = 60'000'000;

using Open = std::function<StatusOr<std::unique_ptr<HostChannel>>(bool is_engine)>;

[[noreturn]] void Fail(const Status& status) {
  std::fprintf(stderr, "channel_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

// Sends everything back until the other side leaves.
void Echo(HostChannel& channel) {
  for (;;) {
    const auto message = channel.Receive(kTimeoutUs);
    if (!message.ok()) return;
    if (!channel.Send(message->kind, message->payload).ok()) return;
  }
}

void Measure(HostChannel& channel, const char* kind) {
  const SystemClock clock;
  for (const size_t bytes : kSizes) {
    const std::vector<std::byte> payload(bytes);
    std::vector<int64_t> times;
    for (int i = 0; i < kRoundTrips + kWarmUp; ++i) {
      const int64_t start = clock.NowNs();
      if (Status status = channel.Send(1, payload); !status.ok()) Fail(status);
      if (const auto back = channel.Receive(kTimeoutUs); !back.ok()) Fail(back.status());
      if (i >= kWarmUp) times.push_back(clock.NowNs() - start);
    }
    std::sort(times.begin(), times.end());
    const auto us = [&times](size_t percent) {
      return static_cast<double>(times[times.size() * percent / 100]) / 2e3;
    };
    std::printf("| %s | %zu | %.1f | %.1f |\n", kind, bytes, us(50), us(99));
  }
}

void Run(const char* kind, const Open& open) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto channel = open(/*is_engine=*/false);
    if (!channel.ok()) Fail(channel.status());
    Echo(**channel);
    _exit(0);
  }
  {
    auto channel = open(/*is_engine=*/true);
    if (!channel.ok()) Fail(channel.status());
    Measure(**channel, kind);
  }
  waitpid(pid, nullptr, 0);
}

int Main() {
  const SystemClock clock;
  SystemEntropy entropy;
  std::printf("| channel | bytes | us one way, median | p99 |\n|---|---|---|---|\n");

  const SharedMemoryChannelOptions memory;
  const auto segment = CreateChannelSegment(memory);
  if (!segment.ok()) Fail(segment.status());
  Run("shared memory", [&](bool is_engine) {
    return OpenSharedMemoryChannel(segment->get(), is_engine ? HostSide::kEngine : HostSide::kRank,
                                   memory, clock);
  });

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  if (bind(listener, reinterpret_cast<sockaddr*>(&name), length) != 0 || listen(listener, 8) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    Fail(InternalError("cannot listen"));
  }
  TcpChannelOptions tcp;
  tcp.address = "127.0.0.1:" + std::to_string(ntohs(name.sin_port));
  tcp.key = "a key for a benchmark";
  Run("TCP loopback", [&](bool is_engine) -> StatusOr<std::unique_ptr<HostChannel>> {
    if (!is_engine) return ConnectTcpChannel(tcp, 0, entropy, clock);
    INFERD_ASSIGN_OR_RETURN(auto channels, AcceptTcpChannels(tcp, listener, entropy, clock));
    return std::move(channels.front());
  });
  close(listener);
  return 0;
}

}  // namespace
}  // namespace inferd

int main() { return inferd::Main(); }
