#include <string>

#include "text/template/budget.h"
#include "text/template/parser.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

char SimpleEscape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return '\0';
  }
}

}  // namespace

StatusOr<std::string> UnescapeLiteral(std::string_view literal, int line) {
  const std::string_view text = literal.substr(1, literal.size() - 2);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '\\') {
      out.push_back(text[i++]);
      continue;
    }
    const char kind = text[i + 1];  // the lexer saw to it that something follows
    i += 2;
    if (kind == '\n') continue;
    if (const char simple = SimpleEscape(kind); simple != '\0') {
      out.push_back(simple);
    } else if (kind >= '0' && kind <= '7') {
      uint32_t value = static_cast<uint32_t>(kind - '0');
      for (int n = 1; n < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n, ++i)
        value = value * 8 + static_cast<uint32_t>(text[i] - '0');
      AppendUtf8(out, value);
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
      uint32_t value = 0;
      for (int n = 0; n < digits; ++n, ++i) {
        const int digit = i < text.size() ? HexDigit(text[i]) : -1;
        if (digit < 0) return CompileError(line, "truncated escape in a string");
        value = value * 16 + static_cast<uint32_t>(digit);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return CompileError(line, "an escape is not a Unicode character");
      AppendUtf8(out, value);
    } else if (kind == 'N') {
      return CompileError(line, "named character escapes are not supported");
    } else {
      out.push_back('\\');
      out.push_back(kind);
    }
  }
  return out;
}

}  // namespace inferd::chat_template
