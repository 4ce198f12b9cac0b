#include "server/ui_page.h"

#include <string>

namespace inferd {
namespace {

// Nothing from elsewhere, nothing inline, nobody frames it.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace

std::optional<HttpResponse> UiAnswer(std::string_view path) {
  for (const UiFile& file : UiFiles()) {
    if (file.path != path) continue;
    HttpResponse response;
    response.content_type = std::string(file.content_type);
    response.headers = {{"content-security-policy", std::string(kPolicy)},
                        {"x-content-type-options", "nosniff"},
                        {"referrer-policy", "no-referrer"},
                        {"cross-origin-opener-policy", "same-origin"},
                        {"cross-origin-resource-policy", "same-origin"},
                        // A new version of the daemon is a new version of the page.
                        {"cache-control", "no-cache"}};
    response.body = std::string(file.bytes);
    return response;
  }
  return std::nullopt;
}

}  // namespace inferd
