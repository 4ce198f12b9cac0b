// Any bytes, whole and byte by byte: the same requests, within the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/base/check.h"
#include "net/http1_parser.h"

namespace inferd::net {
namespace {

constexpr Http1Limits kLimits = {
    .max_target_bytes = 40, .max_header_bytes = 120, .max_header_fields = 5, .max_body_bytes = 50};

// What was read of the bytes, as text.
std::string Transcript(std::string_view bytes, size_t step) {
  Http1Parser parser(kLimits);
  std::string result;
  while (!bytes.empty()) {
    const size_t used = parser.Feed(bytes.substr(0, std::min(step, bytes.size())));
    INFERD_CHECK(used <= bytes.size());
    bytes.remove_prefix(used);
    if (parser.state() == Http1Parser::State::kFailed) {
      return result + "failed " + std::to_string(parser.error_status());
    }
    if (parser.state() != Http1Parser::State::kDone) {
      INFERD_CHECK(used > 0);
      continue;
    }
    const bool keep_alive = parser.keep_alive();
    const HttpRequest request = parser.TakeRequest();
    INFERD_CHECK(request.path.starts_with('/'));
    INFERD_CHECK(request.path.size() + request.query.size() <= kLimits.max_target_bytes);
    INFERD_CHECK(request.body.size() <= kLimits.max_body_bytes);
    INFERD_CHECK(request.headers.size() <= kLimits.max_header_fields);
    int64_t header_bytes = 0;
    for (const auto& [name, value] : request.headers) {
      header_bytes += static_cast<int64_t>(name.size() + value.size());
      INFERD_CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    }
    INFERD_CHECK(header_bytes <= kLimits.max_header_bytes);
    const bool sized = !request.Header("content-length").empty();
    INFERD_CHECK(!sized || request.Header("transfer-encoding").empty());
    result += request.method + " " + request.path + "?" + request.query + " " + request.body +
              (keep_alive ? " keep\n" : " close\n");
  }
  return result;
}

}  // namespace
}  // namespace inferd::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  INFERD_CHECK(inferd::net::Transcript(bytes, bytes.size() + 1) ==
               inferd::net::Transcript(bytes, 1));
  return 0;
}
