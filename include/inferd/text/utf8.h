// UTF-8: validation, decoding, and replacement of what is not valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::text {

// How the bytes at the front of a text continue.
struct Utf8Step {
  enum class Kind {
    kValid,       // a whole sequence of `length` bytes
    kInvalid,     // a maximal subpart of `length` bytes that no sequence continues
    kIncomplete,  // the text ends within a sequence; `length` bytes are there
  };
  Kind kind;
  size_t length;
};
// `text` must not be empty. Follows Unicode 15.0, table 3-7.
Utf8Step ClassifyUtf8(std::string_view text);

bool IsValidUtf8(std::string_view text);

struct CodePoint {
  char32_t value;
  uint32_t length;  // bytes
};
// The code point at `position` of valid UTF-8.
CodePoint DecodeUtf8(std::string_view text, size_t position);
// Where the code point before `position` (> 0) of valid UTF-8 begins.
size_t PreviousUtf8(std::string_view text, size_t position);

void AppendUtf8(char32_t code_point, std::string& out);

// Appends `bytes` to `out` with U+FFFD for each maximal subpart that is not
// UTF-8, up to an incomplete sequence at the end. Returns how many bytes that
// sequence has (0 to 3); they are not consumed.
size_t AppendLossyUtf8(std::string_view bytes, std::string& out);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace inferd::text
