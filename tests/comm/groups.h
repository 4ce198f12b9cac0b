// Groups of every kind, with a thread for each rank.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/comm/communicator.h"
#include "inferd/comm/shared_memory_group.h"
#include "inferd/comm/tcp_group.h"
#include "inferd/comm/thread_group.h"

namespace inferd {

using Group = std::vector<std::unique_ptr<Communicator>>;

// Calls `body(rank)` on a thread per rank.
inline void OnThreads(int world_size, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < world_size; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

inline Group ThreadGroup(int world_size, const CommOptions& options, const Clock& clock) {
  auto group = MakeThreadGroup(world_size, options, clock);
  INFERD_CHECK(group.ok());
  return std::move(group).value();
}

inline Group SharedMemoryGroup(int world_size, const CommOptions& options, const Clock& clock) {
  const auto segment = CreateSharedMemorySegment(world_size, options);
  INFERD_CHECK(segment.ok());
  Group group(static_cast<size_t>(world_size));
  OnThreads(world_size, [&](int rank) {
    auto joined = JoinSharedMemoryGroup(segment->get(), rank, world_size, options, clock);
    INFERD_CHECK(joined.ok());
    group[static_cast<size_t>(rank)] = std::move(joined).value();
  });
  return group;
}

// A socket that listens on a free port of loopback, and its address.
struct Listener {
  Listener() : fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(name);
    INFERD_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&name), length) == 0);
    INFERD_CHECK(listen(fd, kMaxRanks) == 0);
    INFERD_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0);
    address = "127.0.0.1:" + std::to_string(ntohs(name.sin_port));
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { close(fd); }
  const int fd;
  std::string address;
};

inline Group TcpGroup(int world_size, const CommOptions& options, const Clock& clock) {
  const std::vector<Listener> listeners(static_cast<size_t>(world_size));
  Group group(static_cast<size_t>(world_size));
  OnThreads(world_size, [&](int rank) {
    TcpGroupOptions tcp;
    tcp.comm = options;
    tcp.rank = rank;
    for (const Listener& listener : listeners) tcp.addresses.push_back(listener.address);
    tcp.listen_fd = listeners[static_cast<size_t>(rank)].fd;
    tcp.key = "a key of sixteen bytes or more";
    SystemEntropy entropy;
    auto joined = ConnectTcpGroup(tcp, entropy, clock);
    INFERD_CHECK(joined.ok());
    group[static_cast<size_t>(rank)] = std::move(joined).value();
  });
  return group;
}

struct GroupKind {
  std::string name;
  Group (*make)(int world_size, const CommOptions& options, const Clock& clock);
};

inline std::vector<GroupKind> AllKinds() {
  return {{"threads", ThreadGroup}, {"shared_memory", SharedMemoryGroup}, {"tcp", TcpGroup}};
}

}  // namespace inferd
