#include "runtime/remote_listener.h"

#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace inferd::runtime {

std::string JoinAddress(const std::string& host, int port) {
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

namespace {

bool MeansAllInterfaces(const addrinfo& address) {
  std::array<char, NI_MAXHOST> host{};
  const int error = getnameinfo(address.ai_addr, address.ai_addrlen, host.data(), host.size(),
                                nullptr, 0, NI_NUMERICHOST);
  const std::string_view name(host.data());
  return error != 0 || name == "0.0.0.0" || name == "::";
}

}  // namespace

StatusOr<UniqueFd> ListenForRanks(const RemoteRanks& remote) {
  const std::string& host = remote.leader;
  const std::string name = "listening for ranks on " + JoinAddress(host, remote.port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(remote.port).c_str(), &hints, &found);
  if (error != 0) return UnavailableError(name + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, freeaddrinfo);
  if (MeansAllInterfaces(*found)) {
    return InvalidArgumentError(name + ": this means all interfaces; name one address");
  }
  UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int one = 1;
  if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
      bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || listen(fd.get(), 64) != 0) {
    return UnavailableError(name + ": " + std::strerror(errno));
  }
  return fd;
}

}  // namespace inferd::runtime
