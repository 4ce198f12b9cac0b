#include "runtime/chaos/frame_relay.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "comm/frame.h"
#include "comm/handshake.h"
#include "inferd/base/check.h"
#include "inferd/base/clock.h"

namespace inferd::testing {
namespace {

constexpr size_t kSlowBytes = 16;
constexpr std::chrono::milliseconds kSlowPause(2);

sockaddr_in NameFor(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  INFERD_CHECK(inet_pton(AF_INET, address.substr(0, colon).c_str(), &name.sin_addr) == 1);
  return name;
}

UniqueFd ListenAt(const std::string& address) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in name = NameFor(address);
  INFERD_CHECK(bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0);
  INFERD_CHECK(listen(fd.get(), 16) == 0);
  return fd;
}

bool SendAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

// What its owner closes next ends with a reset.
void ResetOnClose(int fd) {
  const linger now{1, 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

}  // namespace

const char* NameOf(LinkFault fault) {
  static constexpr std::array<const char*, kNumLinkFaults> kNames = {
      "cut",     "cut_inside", "half_open", "slow",      "lost",   "header",
      "payload", "replayed",   "overtaken", "old_epoch", "version"};
  return kNames[static_cast<size_t>(fault)];
}

FrameRelay::FrameRelay(const std::string& address, std::string engine,
                       std::vector<LinkStrike> strikes)
    : engine_(std::move(engine)),
      strikes_(std::move(strikes)),
      listener_(ListenAt(address)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { Listen(); }) {}

FrameRelay::~FrameRelay() {
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void FrameRelay::Listen() {
  std::array<pollfd, 2> fds = {pollfd{listener_.get(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
  while (poll(fds.data(), fds.size(), -1) > 0 && fds[1].revents == 0) {
    UniqueFd rank(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!rank) continue;
    connections_.emplace_back(
        [this, fd = std::make_shared<UniqueFd>(std::move(rank))] { Serve(std::move(*fd)); });
  }
  for (std::thread& connection : connections_) connection.join();
}

void FrameRelay::Serve(UniqueFd rank) {
  const UniqueFd engine(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in name = NameFor(engine_);
  if (connect(engine.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) return;
  Direction ways[2];
  ways[0].from = ways[1].to = rank.get();
  ways[0].to = ways[1].from = engine.get();
  ways[0].to_engine = true;
  PassOnUntilTheEnd(ways);
  const std::lock_guard lock(mutex_);
  for (Direction& way : ways) {
    for (auto& [kind, message] : way.last) old_[{way.to_engine, kind}] = std::move(message);
  }
}

void FrameRelay::PassOnUntilTheEnd(Direction* ways) {
  std::array<std::byte, 65536> bytes;
  for (bool open = true; open;) {
    std::array<pollfd, 3> fds = {pollfd{ways[0].from, POLLIN, 0}, pollfd{ways[1].from, POLLIN, 0},
                                 pollfd{stop_.get(), POLLIN, 0}};
    if (poll(fds.data(), fds.size(), -1) < 0 || fds[2].revents != 0) return;
    for (size_t i = 0; i < 2 && open; ++i) {
      if (fds[i].revents == 0) continue;
      const ssize_t n = recv(ways[i].from, bytes.data(), bytes.size(), 0);
      open = n > 0;
      if (!open) continue;
      ways[i].came.insert(ways[i].came.end(), bytes.begin(), bytes.begin() + n);
      open = PassOn(ways[i]);
    }
  }
}

bool FrameRelay::PassOn(Direction& way) {
  for (;;) {
    size_t size = way.messages == 0 ? sizeof(Hello) : sizeof(HmacTag);
    uint32_t kind = way.messages == 0 ? kHelloMessage : kProofMessage;
    if (way.messages > 1) {
      FrameHeader header;
      if (way.came.size() < sizeof(header)) return true;
      std::memcpy(&header, way.came.data(), sizeof(header));
      size = sizeof(header) + header.size;
      kind = header.kind;
    }
    if (way.came.size() < size) return true;
    const auto end = way.came.begin() + static_cast<ptrdiff_t>(size);
    std::vector<std::byte> message(way.came.begin(), end);
    way.came.erase(way.came.begin(), end);
    ++way.messages;
    if (!Deliver(way, kind, std::move(message))) return false;
  }
}

bool FrameRelay::Deliver(Direction& way, uint32_t kind, std::vector<std::byte> message) {
  const int nth = way.of_kind[kind]++;
  size_t turn = turn_.load();
  if (turn < strikes_.size()) {
    const LinkStrike& strike = strikes_[turn];
    if (strike.kind == kind && strike.to_engine == way.to_engine && strike.nth == nth &&
        turn_.compare_exchange_strong(turn, turn + 1)) {
      struck_us_ = SystemClock().NowUs();
      return Spoil(way, kind, strike.fault, std::move(message));
    }
  }
  if (!SendAll(way.to, message)) return false;
  if (!way.held.empty() && !SendAll(way.to, std::exchange(way.held, {}))) return false;
  way.last[kind] = std::move(message);
  return true;
}

bool FrameRelay::Spoil(Direction& way, uint32_t kind, LinkFault fault,
                       std::vector<std::byte> message) {
  const auto send_half = [&] {
    return SendAll(way.to, std::span(message).first(message.size() / 2));
  };
  switch (fault) {
    case LinkFault::kCut:
      ResetOnClose(way.from);
      ResetOnClose(way.to);
      return false;
    case LinkFault::kCutInside:
      (void)send_half();
      return false;
    case LinkFault::kHalfOpen: {
      // Until one of the two gives up.
      std::array<pollfd, 3> fds = {pollfd{way.from, POLLRDHUP, 0}, pollfd{way.to, POLLRDHUP, 0},
                                   pollfd{stop_.get(), POLLIN, 0}};
      (void)poll(fds.data(), fds.size(), -1);
      return false;
    }
    case LinkFault::kSlow:
      for (size_t at = 0; at < message.size(); at += kSlowBytes) {
        const size_t n = std::min(kSlowBytes, message.size() - at);
        if (!SendAll(way.to, std::span(message).subspan(at, n))) return false;
        std::this_thread::sleep_for(kSlowPause);
      }
      return true;
    case LinkFault::kLost:
      return true;
    case LinkFault::kChangedHeader:
      message[kind < kHelloMessage ? offsetof(FrameHeader, kind) : 0] ^= std::byte{4};
      break;
    case LinkFault::kChangedPayload:
      message.back() ^= std::byte{1};
      break;
    case LinkFault::kReplayed:
      if (!SendAll(way.to, message)) return false;
      break;
    case LinkFault::kOvertaken:
      way.held = std::move(message);
      return true;
    case LinkFault::kOldEpoch: {
      const std::lock_guard lock(mutex_);
      message = old_.at({way.to_engine, kind});
      break;
    }
    case LinkFault::kOtherVersion:
      message[kind < kHelloMessage ? offsetof(FrameHeader, version) : offsetof(Hello, version)] ^=
          std::byte{2};
      break;
  }
  return SendAll(way.to, message);
}

}  // namespace inferd::testing
