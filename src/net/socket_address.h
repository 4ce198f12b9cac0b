// Addresses of sockets: parsed from configuration, opened, written out.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd::net {

struct ListeningSocket {
  UniqueFd fd;            // non-blocking
  int port = 0;           // 0 for a Unix socket
  std::string unix_path;  // to be removed when done; empty otherwise
};

// "host:port", "[v6]:port" or "unix:/path". A name that stands for several addresses
// takes the first, IPv4 before IPv6; an IPv6 any-address takes both families. A Unix
// socket that nobody listens on any more is replaced. INVALID_ARGUMENT for what is
// no address, UNAVAILABLE when it cannot be had; both name it.
StatusOr<ListeningSocket> OpenListener(const std::string& address);

// "203.0.113.5:4242", "[2001:db8::1]:4242", "unix". IPv4 within IPv6 is written as IPv4.
std::string FormatPeer(const sockaddr_storage& address);

// Whom connections are counted against: an IPv4 address, or the /64 of an IPv6 one.
// The default value: nobody (Unix sockets).
struct AddressKey {
  std::array<uint8_t, 8> bytes{};
  uint8_t family = 0;  // 4, 6 or 0
  auto operator<=>(const AddressKey&) const = default;
};
AddressKey KeyOf(const sockaddr_storage& address);

}  // namespace inferd::net
