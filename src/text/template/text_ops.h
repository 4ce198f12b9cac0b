// Operations on marked text that filters and methods share. Every byte of a
// result is as trusted as the byte it comes from.
#pragma once

#include <cstdint>
#include <string_view>

#include "text/template/budget.h"

namespace inferd::chat_template {

enum class Side : uint8_t { kLeft, kRight, kBoth };
enum class Case : uint8_t { kUpper, kLower, kCapitalize, kTitle, kFilterTitle, kSwap };

// Without the characters of `chars` (null: white space) at its ends.
StatusOr<Value> Strip(Budget& budget, const MarkedString& text, const MarkedString* chars,
                      Side side);
StatusOr<Value> ChangeCase(Budget& budget, const MarkedString& text, Case to);
// The first `count` (negative: all) occurrences of `from` become `to`.
StatusOr<Value> Replace(Budget& budget, const MarkedString& text, const MarkedString& from,
                        const MarkedString& to, int64_t count);
// `separator` null: runs of white space. `limit` negative: none.
StatusOr<Value> Split(Budget& budget, const MarkedString& text, const MarkedString* separator,
                      int64_t limit, bool from_right);
StatusOr<Value> SplitLines(Budget& budget, const MarkedString& text, bool keep_ends);
// The items as str() prints them, or only strings when `strict`.
StatusOr<Value> Join(Budget& budget, const MarkedString& separator, const std::vector<Value>& items,
                     bool strict);
StatusOr<Value> Indent(Budget& budget, const MarkedString& text, const MarkedString& indent,
                       bool first, bool blank);
// `text` widened to `width` characters with `fill` before and after it.
StatusOr<Value> Pad(Budget& budget, const MarkedString& text, int64_t width, uint32_t fill,
                    bool fill_trusted, Side text_side);
StatusOr<Value> Reversed(Budget& budget, const MarkedString& text);
StatusOr<Value> EscapeHtml(Budget& budget, const MarkedString& text);
int64_t CountWords(std::string_view text);

}  // namespace inferd::chat_template
