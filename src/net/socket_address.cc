#include "net/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <vector>

namespace inferd::net {
namespace {

constexpr int kBacklog = 1024;
constexpr std::string_view kUnixPrefix = "unix:";

Status Cannot(const std::string& address, std::string_view what, int error) {
  return UnavailableError("cannot listen on " + address + ": " + std::string(what) + ": " +
                          std::strerror(error));
}

// Whether anybody accepts connections on that path.
bool SomebodyListens(const sockaddr_un& name) {
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return true;
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return true;
  }
  return errno != ECONNREFUSED;
}

StatusOr<ListeningSocket> OpenUnix(const std::string& address, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return InvalidArgumentError("cannot listen on " + address + ": the path must have 1 to " +
                                std::to_string(sizeof(name.sun_path) - 1) + " bytes");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  ListeningSocket result;
  result.fd.Reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!result.fd) return Cannot(address, "socket", errno);
  const auto* generic = reinterpret_cast<const sockaddr*>(&name);
  int bound = ::bind(result.fd.get(), generic, sizeof(name));
  struct stat info {};
  if (bound != 0 && errno == EADDRINUSE && ::lstat(path.c_str(), &info) == 0 &&
      S_ISSOCK(info.st_mode) && !SomebodyListens(name)) {
    ::unlink(path.c_str());
    bound = ::bind(result.fd.get(), generic, sizeof(name));
  }
  if (bound != 0) return Cannot(address, "bind", errno);
  result.unix_path = path;
  if (::listen(result.fd.get(), kBacklog) != 0) return Cannot(address, "listen", errno);
  return result;
}

struct HostPort {
  std::string host;
  std::string port;
};

StatusOr<HostPort> Split(const std::string& address) {
  const Status malformed = InvalidArgumentError("not an address to listen on: '" + address +
                                                "' (expected host:port, [v6]:port or unix:/path)");
  HostPort result;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return malformed;
  result.host = address.substr(0, colon);
  result.port = address.substr(colon + 1);
  if (result.host.size() >= 2 && result.host.front() == '[' && result.host.back() == ']') {
    result.host = result.host.substr(1, result.host.size() - 2);
  } else if (result.host.find(':') != std::string::npos) {
    return malformed;
  }
  uint16_t port = 0;
  const char* end = result.port.data() + result.port.size();
  const auto parsed = std::from_chars(result.port.data(), end, port);
  if (result.host.empty() || result.port.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
    return malformed;
  }
  return result;
}

StatusOr<ListeningSocket> OpenTcp(const std::string& address, const addrinfo& info) {
  ListeningSocket result;
  result.fd.Reset(::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!result.fd) return Cannot(address, "socket", errno);
  const int on = 1;
  const int off = 0;
  ::setsockopt(result.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (info.ai_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(info.ai_addr);
    const bool any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) != 0;
    ::setsockopt(result.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof(int));
  }
  if (::bind(result.fd.get(), info.ai_addr, info.ai_addrlen) != 0) {
    return Cannot(address, "bind", errno);
  }
  if (::listen(result.fd.get(), kBacklog) != 0) return Cannot(address, "listen", errno);
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  ::getsockname(result.fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  result.port =
      ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                                        : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
  return result;
}

}  // namespace

StatusOr<ListeningSocket> OpenListener(const std::string& address) {
  if (address.starts_with(kUnixPrefix)) {
    return OpenUnix(address, address.substr(kUnixPrefix.size()));
  }
  INFERD_ASSIGN_OR_RETURN(const HostPort parts, Split(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (error != 0) {
    return UnavailableError("cannot listen on " + address + ": " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<const addrinfo*> candidates;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    candidates.push_back(info);
  }
  std::stable_partition(candidates.begin(), candidates.end(),
                        [](const addrinfo* info) { return info->ai_family == AF_INET; });
  return OpenTcp(address, *candidates.front());
}

std::string FormatPeer(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    const std::string port = ":" + std::to_string(ntohs(v6.sin6_port));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) != 0) {
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
      return text.data() + port;
    }
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return "[" + std::string(text.data()) + "]" + port;
  }
  return "unix";
}

AddressKey KeyOf(const sockaddr_storage& address) {
  AddressKey key;
  if (address.ss_family == AF_INET) {
    key.family = 4;
    std::memcpy(key.bytes.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else if (address.ss_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6) != 0) {
      key.family = 4;
      std::memcpy(key.bytes.data(), &v6.s6_addr[12], 4);
    } else {
      key.family = 6;
      std::memcpy(key.bytes.data(), v6.s6_addr, 8);
    }
  }
  return key;
}

}  // namespace inferd::net
