#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::net {

// Error codes of RFC 9113, section 7.
inline constexpr uint32_t kHttp2NoError = 0x0;
inline constexpr uint32_t kHttp2EnhanceYourCalm = 0xb;

// A GOAWAY frame; `reason` is its debug data.
std::string Http2Goaway(uint32_t last_stream, uint32_t error_code, std::string_view reason);

}  // namespace inferd::net
