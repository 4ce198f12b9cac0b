#include "comm/socket_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace inferd {
namespace {

// The clock is looked at this often at least; it may be one that is moved by hand.
constexpr int64_t kPollMs = 50;
// A host that is gone without a word is noticed within about ten seconds: by probes
// when nothing is said, by what it does not acknowledge otherwise.
constexpr int kIdleS = 4;
constexpr int kProbeS = 2;
constexpr int kProbes = 3;
constexpr unsigned int kUnacknowledgedMs = 10'000;

Status Lost(std::string_view why) {
  return UnavailableError("the connection was lost: " + std::string(why));
}

}  // namespace

SocketLink::SocketLink(UniqueFd socket, const Clock& clock)
    : socket_(std::move(socket)), clock_(clock) {
  const int on = 1;
  const int fd = socket_.get();
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleS, sizeof(kIdleS));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kProbeS, sizeof(kProbeS));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof(kProbes));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof(kUnacknowledgedMs));
}

Status SocketLink::Await(short events, int64_t deadline_us) const {
  const int64_t left_us = deadline_us - clock_.NowUs();
  if (left_us <= 0) {
    return Status(StatusCode::kDeadlineExceeded, "the other side did not come in time");
  }
  pollfd polled{socket_.get(), events, 0};
  poll(&polled, 1, static_cast<int>(std::min(left_us / 1000 + 1, kPollMs)));
  return OkStatus();
}

Status SocketLink::Write(std::span<const std::byte> bytes, int64_t deadline_us) {
  while (!bytes.empty()) {
    const ssize_t n = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      INFERD_RETURN_IF_ERROR(Await(POLLOUT, deadline_us));
    } else if (errno != EINTR) {
      return Lost(std::strerror(errno));
    }
  }
  return OkStatus();
}

StatusOr<size_t> SocketLink::ReadSome(std::span<std::byte> into, int64_t deadline_us) {
  for (;;) {
    const ssize_t n = recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) return Lost("the other side closed it");
    if (errno == EAGAIN) {
      INFERD_RETURN_IF_ERROR(Await(POLLIN, deadline_us));
    } else if (errno != EINTR) {
      return Lost(std::strerror(errno));
    }
  }
}

// The descriptor stays open until the end, so no other thread uses a number that has
// become something else.
void SocketLink::Break() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace inferd
