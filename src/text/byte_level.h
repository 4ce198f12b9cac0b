// The byte-level alphabet of GPT-2: each byte is written as one printable
// character, so that any text is a sequence of vocabulary characters.
#pragma once

#include <string>
#include <string_view>

namespace inferd::text {

// Appends `bytes` in the alphabet.
void AppendByteLevel(std::string_view bytes, std::string& out);
// The bytes that `token` stands for; `token` itself when it is not written in
// the alphabet throughout.
std::string ByteLevelToBytes(std::string_view token);

}  // namespace inferd::text
