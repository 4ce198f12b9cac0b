// UTF-8 walking and the character classes of Python's str. Pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::chat_template {

struct CodePoint {
  uint32_t value;
  size_t length;  // bytes
};

bool IsValidUtf8(std::string_view text);
// The code point that starts at `position` (< size) of valid UTF-8.
CodePoint DecodeAt(std::string_view text, size_t position);
// The code point that ends just before `position` (> 0) of valid UTF-8.
CodePoint DecodeBefore(std::string_view text, size_t position);
void AppendUtf8(std::string& out, uint32_t code_point);
size_t CountCodePoints(std::string_view text);
// The byte where code point number `index` starts; size() past the end.
size_t ByteOffset(std::string_view text, size_t index);

bool IsSpace(uint32_t c);
bool IsAlpha(uint32_t c);
bool IsDigit(uint32_t c);
bool IsAlnum(uint32_t c);
bool IsLineBreak(uint32_t c);  // as str.splitlines
bool IsPrintable(uint32_t c);
bool IsUpper(uint32_t c);
bool IsLower(uint32_t c);

// Up to three code points; unused places are 0.
std::array<uint32_t, 3> ToUpper(uint32_t c);
std::array<uint32_t, 3> ToLower(uint32_t c);

// `text` without the white space at its ends.
std::string_view StripSpace(std::string_view text);
std::string_view StripSpaceRight(std::string_view text);

}  // namespace inferd::chat_template
