// Writing text with some characters replaced.
#pragma once

#include <cstdint>
#include <string>

#include "text/template/budget.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {

// `value` as `digits` lower-case hexadecimal digits.
inline std::string Hex(uint32_t value, int digits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(static_cast<size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i, value >>= 4)
    out[static_cast<size_t>(i)] = kDigits[value & 15];
  return out;
}

// Copies `text`, replacing what `escape` has a replacement for. The replacement
// is as trusted as the character.
template <typename Escape>
void AppendEscaped(TextBuilder& out, const MarkedString& text, Escape escape) {
  const std::string_view view = text.text();
  size_t copied = 0;
  for (size_t i = 0; i < view.size() && out.ok();) {
    const CodePoint c = DecodeAt(view, i);
    const std::string replacement = escape(c.value);
    if (!replacement.empty()) {
      out.AppendRange(text, copied, i);
      out.Append(replacement, text.TrustedAt(i));
      copied = i + c.length;
    }
    i += c.length;
  }
  out.AppendRange(text, copied, view.size());
}

}  // namespace inferd::chat_template
