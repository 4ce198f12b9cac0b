// What an answer looks like on the wire.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/net/http.h"

namespace inferd::net {

enum class Http1Framing {
  kLength,   // content-length: the body's size
  kChunked,  // transfer-encoding: chunked
  kClose,    // until the connection ends
};

// Everything up to the body. Headers that would break the message are left out: those
// that frame it, and those with a line end in them.
std::string Http1Head(const HttpResponse& response, Http1Framing framing, bool keep_alive,
                      int64_t unix_s);
// Whether answers of that status have no body at all.
bool HasNoBody(int status);
// The connection's own answer to a request it cannot take. `message` goes into JSON as it
// is; without one the status says it.
HttpResponse ErrorResponse(int status, std::string_view message = {});
std::string Chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace inferd::net
