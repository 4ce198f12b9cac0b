#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "inferd/text/utf8.h"

namespace inferd::text {
namespace {

struct Alphabet {
  std::array<uint16_t, 256> character{};  // by byte
  std::array<int16_t, 324> byte{};        // by character; -1: none
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = -1;
  uint16_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const uint16_t c = printable ? static_cast<uint16_t>(b) : next++;
    alphabet.character[static_cast<size_t>(b)] = c;
    alphabet.byte[c] = static_cast<int16_t>(b);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

void AppendByteLevel(std::string_view bytes, std::string& out) {
  for (const char b : bytes) {
    const uint16_t c = kAlphabet.character[static_cast<unsigned char>(b)];
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else {
      out.push_back(static_cast<char>(0xC0 | (c >> 6)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
  }
}

void AppendBytesOfByteLevel(std::string_view token, std::string& out) {
  const size_t begin = out.size();
  out.resize(begin + token.size());  // at most a byte for each
  char* to = out.data() + begin;
  for (size_t i = 0; i < token.size();) {
    const CodePoint c = DecodeUtf8(token, i);
    if (c.value >= kAlphabet.byte.size() || kAlphabet.byte[c.value] < 0) {
      out.replace(begin, token.size(), token);
      return;
    }
    *to++ = static_cast<char>(kAlphabet.byte[c.value]);
    i += c.length;
  }
  out.resize(static_cast<size_t>(to - out.data()));
}

}  // namespace inferd::text
