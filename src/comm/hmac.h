#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace inferd {

using HmacTag = std::array<std::byte, 32>;

// HMAC-SHA256 (RFC 2104), by the library that also does TLS. Any thread.
HmacTag HmacSha256(std::string_view key, std::span<const std::byte> data);
// Takes the same time whatever the tags are.
bool SameTag(const HmacTag& a, const HmacTag& b);

}  // namespace inferd
