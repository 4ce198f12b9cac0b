// Both ends of host channels of every kind, in one process.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/groups.h"
#include "inferd/comm/host_channel.h"
#include "inferd/comm/shared_memory_channel.h"
#include "inferd/comm/tcp_channel.h"

namespace inferd {

inline constexpr int64_t kLongUs = 60'000'000;

struct ChannelPair {
  std::unique_ptr<HostChannel> engine;
  std::unique_ptr<HostChannel> rank;
};

inline ChannelPair SharedMemoryChannels(const HostChannelOptions& channel, const Clock& clock) {
  SharedMemoryChannelOptions options;
  options.channel = channel;
  options.ring_bytes = 4096;
  const auto segment = CreateChannelSegment(options);
  INFERD_CHECK(segment.ok());
  auto engine = OpenSharedMemoryChannel(segment->get(), HostSide::kEngine, options, clock);
  auto rank = OpenSharedMemoryChannel(segment->get(), HostSide::kRank, options, clock);
  INFERD_CHECK(engine.ok() && rank.ok());
  return {std::move(*engine), std::move(*rank)};
}

inline TcpChannelOptions TcpOptions(const std::string& address) {
  TcpChannelOptions options;
  options.address = address;
  options.key = "a key of sixteen bytes or more";
  return options;
}

inline ChannelPair TcpChannels(const HostChannelOptions& channel, const Clock& clock,
                               int64_t silence_us) {
  const Listener listener;
  TcpChannelOptions options = TcpOptions(listener.address);
  options.channel = channel;
  options.silence_us = silence_us;
  ChannelPair pair;
  std::thread rank([&] {
    SystemEntropy entropy;
    auto connected = ConnectTcpChannel(options, 0, entropy, clock);
    INFERD_CHECK(connected.ok());
    pair.rank = std::move(*connected);
  });
  SystemEntropy entropy;
  auto accepted = AcceptTcpChannels(options, listener.fd, entropy, clock);
  rank.join();
  INFERD_CHECK(accepted.ok());
  pair.engine = std::move(accepted->front());
  return pair;
}

inline ChannelPair PlainTcpChannels(const HostChannelOptions& channel, const Clock& clock) {
  return TcpChannels(channel, clock, 0);
}
inline ChannelPair WatchedTcpChannels(const HostChannelOptions& channel, const Clock& clock) {
  return TcpChannels(channel, clock, kLongUs);
}

struct ChannelKind {
  std::string name;
  ChannelPair (*make)(const HostChannelOptions& channel, const Clock& clock);
};

inline std::vector<ChannelKind> AllChannelKinds() {
  return {{"shared_memory", SharedMemoryChannels},
          {"tcp", PlainTcpChannels},
          {"watched", WatchedTcpChannels}};
}

inline std::vector<std::byte> BytesOfSize(size_t size, uint32_t seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<std::byte>(seed >> 24);
  }
  return bytes;
}

}  // namespace inferd
