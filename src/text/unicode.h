// The character classes that the tokenizer.json format builds on.
#pragma once

#include <string>

namespace inferd::text {

bool IsWhitespace(char32_t c);   // property White_Space
bool IsNumeric(char32_t c);      // general categories Nd, Nl, No
bool IsPunctuation(char32_t c);  // ASCII punctuation and symbols, and general categories P*
bool IsWordChar(char32_t c);     // letters, marks, decimal digits, connectors, joiners

// Appends the full lower-case mapping of `c`, without regard to its neighbours.
void AppendLowercase(char32_t c, std::string& out);

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };
// `text` (valid UTF-8) in normalization form. O(n log n) whatever the text.
std::string Normalize(std::string_view text, NormalizationForm form);

}  // namespace inferd::text
