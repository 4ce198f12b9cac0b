#include "runtime/fd_message.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace inferd::runtime {
namespace {

struct alignas(cmsghdr) ControlBuffer {
  std::array<char, CMSG_SPACE(sizeof(int) * kMaxMessageFds)> bytes{};
};

Status SocketError(const char* what, int error) {
  return UnavailableError(std::string(what) + ": " + std::strerror(error));
}

}  // namespace

Status SendWithFds(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  INFERD_CHECK(bytes.size() <= kMaxFdMessageBytes && fds.size() <= kMaxMessageFds);
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ControlBuffer control;
  if (!fds.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return OkStatus();
    if (errno != EINTR) return SocketError("control socket", errno);
  }
}

StatusOr<FdMessage> ReceiveWithFds(int socket) {
  FdMessage result;
  result.bytes.resize(kMaxFdMessageBytes);
  iovec part{result.bytes.data(), result.bytes.size()};
  ControlBuffer control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t size = 0;
  while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (size < 0) return SocketError("control socket", errno);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::array<int, kMaxMessageFds> fds{};
    std::memcpy(fds.data(), CMSG_DATA(header), std::min(count, fds.size()) * sizeof(int));
    for (size_t i = 0; i < std::min(count, fds.size()); ++i) result.fds.emplace_back(fds[i]);
  }
  if (size == 0) return UnavailableError("control socket: the parent is gone");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Status(StatusCode::kDataLoss, "control socket: a message was cut short");
  }
  result.bytes.resize(static_cast<size_t>(size));
  return result;
}

}  // namespace inferd::runtime
