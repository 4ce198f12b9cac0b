#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::auth {

using Sha256Digest = std::array<uint8_t, 32>;

// FIPS 180-4, by the library that also does TLS. Any thread.
Sha256Digest Sha256(std::string_view data);
// Takes the same time whatever the digests are.
bool DigestsEqual(const Sha256Digest& a, const Sha256Digest& b);

std::string ToHex(const Sha256Digest& digest);
// False unless `text` is 64 hexadecimal digits of either case.
bool FromHex(std::string_view text, Sha256Digest* digest);

}  // namespace inferd::auth
