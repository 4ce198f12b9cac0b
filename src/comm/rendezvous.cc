#include "comm/rendezvous.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "inferd/comm/communicator.h"

namespace inferd {
namespace {

constexpr int kRetryMs = 20;
constexpr int kPollMs = 10;
// A stranger who connects and does not prove itself stays no longer.
constexpr int64_t kVisitUs = 500'000;
constexpr int kAcceptsAtOnce = 16;
// At once; with more, one goes.
constexpr size_t kMaxVisitors = 2 * kMaxRanks;

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

StatusOr<Addresses> Resolve(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgumentError("no port in " + address);
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty()) return InvalidArgumentError("no host in " + address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &list);
  if (error != 0) return UnavailableError(address + ": " + gai_strerror(error));
  return Addresses(list);
}

bool IsWildcard(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof(v4));
    return v4.sin_addr.s_addr == htonl(INADDR_ANY);
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof(v6));
  return IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
}

}  // namespace

StatusOr<UniqueFd> ListenOn(const std::string& address) {
  INFERD_ASSIGN_OR_RETURN(const Addresses list, Resolve(address));
  if (IsWildcard(list->ai_addr)) {
    return InvalidArgumentError(address + " means all interfaces; name one address");
  }
  UniqueFd socket(::socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket.get(), list->ai_addr, list->ai_addrlen) != 0 ||
      listen(socket.get(), static_cast<int>(kMaxVisitors)) != 0) {
    return UnavailableError("cannot listen on " + address + ": " + std::strerror(errno));
  }
  return socket;
}

bool OtherEndGone(int fd) {
  pollfd polled{fd, POLLRDHUP, 0};
  return poll(&polled, 1, 0) > 0;
}

StatusOr<std::unique_ptr<Handshake>> ConnectAndShake(const std::string& address, const Hello& mine,
                                                     const std::string& key,
                                                     const Handshake::Judge& judge,
                                                     EntropySource& entropy, const Clock& clock,
                                                     int64_t deadline_us) {
  std::string refusal = "nobody answered";
  while (clock.NowUs() < deadline_us) {
    auto list = Resolve(address);
    if (!list.ok() && list.status().code() == StatusCode::kInvalidArgument) return list.status();
    if (!list.ok()) {
      refusal = list.status().message();
    } else {
      const addrinfo& to = **list;
      UniqueFd socket(::socket(to.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (connect(socket.get(), to.ai_addr, to.ai_addrlen) == 0 || errno == EINPROGRESS) {
        auto handshake = std::make_unique<Handshake>(std::move(socket), Handshake::End::kConnects,
                                                     mine, key, judge, entropy);
        // As long as it takes: if we gave up when the other side has just let us in, it
        // would take this connection for the good one.
        while (clock.NowUs() < deadline_us) {
          pollfd wanted = handshake->Wanted();
          if (poll(&wanted, 1, kPollMs) <= 0) continue;
          const Handshake::State state = handshake->Step();
          if (state == Handshake::State::kDone) return handshake;
          if (state == Handshake::State::kRefused) break;
        }
        if (!handshake->refusal().empty()) refusal = handshake->refusal();
      }
    }
    poll(nullptr, 0, kRetryMs);
  }
  return Status(StatusCode::kDeadlineExceeded, address + " was not reached in time: " + refusal);
}

Receptionist::Receptionist(int listen_fd, const Hello& mine, const std::string& key,
                           const Handshake::Judge& judge, EntropySource& entropy,
                           const Clock& clock)
    : listen_fd_(listen_fd),
      mine_(mine),
      key_(key),
      judge_(judge),
      entropy_(entropy),
      clock_(clock) {}

void Receptionist::LetOneGo() {
  std::map<std::string_view, size_t> counts;
  for (const Visitor& visitor : visitors_) ++counts[visitor.from];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto first = [&](bool greeted) {
    return std::find_if(visitors_.begin(), visitors_.end(), [&](const Visitor& visitor) {
      return visitor.from == most->first && (greeted || !visitor.handshake->greeted());
    });
  };
  auto leaves = first(/*greeted=*/false);
  if (leaves == visitors_.end()) leaves = first(/*greeted=*/true);
  visitors_.erase(leaves);
}

bool Receptionist::Accept() {
  sockaddr_storage from{};
  socklen_t size = sizeof(from);
  UniqueFd socket(
      accept4(listen_fd_, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.get() < 0) {
    // With no descriptor left, say, the visitor stays where it is, and poll finds it at once.
    const bool nobody = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    if (!nobody) poll(nullptr, 0, kPollMs);
    return false;
  }
  if (visitors_.size() == kMaxVisitors) LetOneGo();
  Visitor& visitor = visitors_.emplace_back();
  visitor.handshake = std::make_unique<Handshake>(std::move(socket), Handshake::End::kAccepts,
                                                  mine_, key_, judge_, entropy_);
  visitor.deadline_us = clock_.NowUs() + kVisitUs;
  std::array<char, NI_MAXHOST> host{};
  if (getnameinfo(reinterpret_cast<sockaddr*>(&from), size, host.data(), host.size(), nullptr, 0,
                  NI_NUMERICHOST) == 0) {
    visitor.from = host.data();
  }
  return true;
}

// What a connection that merely ended says must not replace a refusal: who is refused
// comes again and again.
void Receptionist::Note(const Handshake& refused) {
  if (judged_ && !refused.judged()) return;
  judged_ = refused.judged();
  refusal_ = refused.refusal();
}

std::unique_ptr<Handshake> Receptionist::Attend(size_t i, bool ready) {
  Visitor& visitor = visitors_[i];
  Handshake::State state = Handshake::State::kGoing;
  if (ready) state = visitor.handshake->Step();
  std::unique_ptr<Handshake> done;
  if (state == Handshake::State::kDone) {
    done = std::move(visitor.handshake);
  } else if (state == Handshake::State::kRefused) {
    Note(*visitor.handshake);
  } else if (clock_.NowUs() < visitor.deadline_us) {
    return nullptr;
  } else if (refusal_.empty()) {
    refusal_ = "a connection said too little in time";
  }
  visitors_.erase(visitors_.begin() + static_cast<ptrdiff_t>(i));
  return done;
}

std::unique_ptr<Handshake> Receptionist::Next() {
  std::vector<pollfd> polled;
  for (const Visitor& visitor : visitors_) polled.push_back(visitor.handshake->Wanted());
  polled.push_back({listen_fd_, POLLIN, 0});
  poll(polled.data(), polled.size(), kPollMs);
  // From the newest, as one that is over is taken out.
  for (size_t i = visitors_.size(); i-- > 0;) {
    if (auto done = Attend(i, polled[i].revents != 0)) return done;
  }
  // Several at once, so that a flood does not keep others waiting in the kernel's queue.
  for (int i = 0; polled.back().revents != 0 && i < kAcceptsAtOnce && Accept(); ++i) {
  }
  return nullptr;
}

}  // namespace inferd
