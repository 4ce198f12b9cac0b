// The byte-level alphabet of GPT-2: each byte is written as one printable
// character, so that any text is a sequence of vocabulary characters.
#pragma once

#include <string>
#include <string_view>

namespace inferd::text {

// Appends `bytes` in the alphabet.
void AppendByteLevel(std::string_view bytes, std::string& out);
// Appends the bytes that `token`, valid UTF-8, stands for; `token` itself when it is
// not written in the alphabet throughout.
void AppendBytesOfByteLevel(std::string_view token, std::string& out);

}  // namespace inferd::text
