#include "server/browser_guard.h"

#include <arpa/inet.h>

#include <algorithm>

#include "server/errors.h"
#include "server/http_context.h"

namespace inferd {
namespace {

// "name:port" without the port, an address in brackets without those, in lower case.
std::string NameOf(std::string_view host) {
  if (!host.empty() && host.front() == '[') {
    const size_t end = host.find(']');
    return AsciiLower(host.substr(1, end == std::string_view::npos ? end : end - 1));
  }
  return AsciiLower(host.substr(0, host.find(':')));
}

bool IsAddress(const std::string& name) {
  in6_addr address;
  return ::inet_pton(AF_INET, name.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

// No name server answers for it.
bool IsLocal(const std::string& name) {
  return name == "localhost" ||
         (name.size() > 10 && name.compare(name.size() - 10, 10, ".localhost") == 0);
}

bool IsAllowed(const std::string& name, const std::vector<std::string>& allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
    return entry == "*" || AsciiLower(entry) == name;
  });
}

}  // namespace

Status CheckBrowser(std::string_view host, std::string_view origin,
                    const std::vector<std::string>& allowed) {
  const std::string name = NameOf(host);
  // HTTP/1.0 without one comes from no browser.
  if (!host.empty() && !IsAddress(name) && !IsLocal(name) && !IsAllowed(name, allowed)) {
    return PermissionDeniedError(
        "this name is not one of the server's: see server.allowed_hosts in its configuration",
        "HOST_NOT_ALLOWED");
  }
  if (origin.empty()) return OkStatus();
  const size_t scheme = origin.find("://");
  const std::string_view from = scheme == std::string_view::npos ? "" : origin.substr(scheme + 3);
  if (!from.empty() && (AsciiLower(from) == AsciiLower(host) || IsAllowed(NameOf(from), allowed))) {
    return OkStatus();
  }
  return PermissionDeniedError(
      "pages of other sites may not ask: see server.allowed_hosts in its configuration",
      "ORIGIN_NOT_ALLOWED");
}

}  // namespace inferd
