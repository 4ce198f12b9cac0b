#include "net/peer_name.h"

#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "inferd/base/check.h"
#include "inferd/net/listener.h"

namespace inferd::net {
namespace {

constexpr int kTries = 8;
constexpr std::string_view kPrefix = "inferd/";

}  // namespace

void BindPeerName(int fd, const std::string& peer, const std::string& subject) {
  const std::string tail = subject.empty() ? peer : peer + '#' + CertificateId(subject);
  // The descriptor's number and the process make a name unique; a name that somebody
  // holds all the same is passed over.
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const std::string name = std::string(kPrefix) + std::to_string(::getpid()) + "." +
                             std::to_string(fd) + "." + std::to_string(attempt) + "/" + tail;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() >= sizeof(address.sun_path)) return;  // half a name could be another's
    const size_t size = name.size();
    std::memcpy(address.sun_path + 1, name.data(), size);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) return;
    if (errno != EADDRINUSE) return;
  }
}

}  // namespace inferd::net

namespace inferd {
namespace {

constexpr size_t kCertificateIdBytes = 12;

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

// What follows "inferd/<n>/"; empty when it is none of ours.
std::string TailOf(std::string_view uri) {
  static constexpr std::string_view kScheme = "unix-abstract:";
  if (!uri.starts_with(kScheme)) return {};
  const std::string name = PercentDecoded(uri.substr(kScheme.size()));
  const size_t begin = name.find("inferd/");
  const size_t slash = begin == 0 ? name.find('/', 7) : std::string::npos;
  return slash == std::string::npos ? std::string() : name.substr(slash + 1);
}

}  // namespace

std::string PeerOfHttp2(std::string_view uri) {
  const std::string tail = TailOf(uri);
  return tail.empty() ? std::string(uri) : tail.substr(0, tail.find('#'));
}

std::string CertificateOfHttp2(std::string_view uri) {
  const std::string tail = TailOf(uri);
  const size_t mark = tail.find('#');
  return mark == std::string::npos ? std::string() : tail.substr(mark + 1);
}

std::string CertificateId(std::string_view subject) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  INFERD_CHECK(EVP_Digest(subject.data(), subject.size(), digest.data(), nullptr, EVP_sha256(),
                          nullptr) == 1);
  std::string id;
  for (size_t i = 0; i < kCertificateIdBytes; ++i) {
    id += kDigits[digest[i] >> 4];
    id += kDigits[digest[i] & 15];
  }
  return id;
}

}  // namespace inferd
