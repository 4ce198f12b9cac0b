#include "net/peer_name.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "inferd/net/listener.h"

namespace inferd::net {
namespace {

constexpr int kTries = 8;
constexpr std::string_view kPrefix = "inferd/";

}  // namespace

void BindPeerName(int fd, const std::string& peer) {
  // The descriptor's number and the process make a name unique; a name that somebody
  // holds all the same is passed over.
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const std::string name = std::string(kPrefix) + std::to_string(::getpid()) + "." +
                             std::to_string(fd) + "." + std::to_string(attempt) + "/" + peer;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const size_t size = std::min(name.size(), sizeof(address.sun_path) - 1);
    std::memcpy(address.sun_path + 1, name.data(), size);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) return;
    if (errno != EADDRINUSE) return;
  }
}

}  // namespace inferd::net

namespace inferd {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string PercentDecoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      result.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

}  // namespace

std::string PeerOfHttp2(std::string_view uri) {
  static constexpr std::string_view kScheme = "unix-abstract:";
  if (!uri.starts_with(kScheme)) return std::string(uri);
  const std::string name = PercentDecoded(uri.substr(kScheme.size()));
  const size_t begin = name.find("inferd/");
  const size_t slash = begin == 0 ? name.find('/', 7) : std::string::npos;
  return slash == std::string::npos ? std::string(uri) : name.substr(slash + 1);
}

}  // namespace inferd
