#include "text/template/text_ops.h"

#include "text/template/operators.h"
#include "text/template/printer.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

// Appends code points, all as trusted as the character they replace.
void AppendMapped(TextBuilder& out, const std::array<uint32_t, 3>& mapped, bool trusted) {
  for (const uint32_t c : mapped) {
    if (c != 0 || &c == mapped.data()) out.AppendCodePoint(c, trusted);
  }
}

bool InSet(std::string_view set, uint32_t c) {
  for (size_t i = 0; i < set.size();) {
    const CodePoint member = DecodeAt(set, i);
    if (member.value == c) return true;
    i += member.length;
  }
  return false;
}

// jinja's title filter starts words after white space and these.
bool StartsFilterWord(uint32_t c) {
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || IsSpace(c);
}

std::string_view HtmlEscape(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&#34;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

}  // namespace

StatusOr<Value> Strip(Budget& budget, const MarkedString& text, const MarkedString* chars,
                      Side side) {
  const std::string_view view = text.text();
  const size_t set_size = chars == nullptr ? 0 : chars->size();
  const auto drop = [chars](uint32_t c) {
    return chars == nullptr ? IsSpace(c) : InSet(chars->text(), c);
  };
  size_t begin = 0;
  size_t end = view.size();
  while (side != Side::kRight && begin < end) {
    INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(set_size / 16)));
    const CodePoint c = DecodeAt(view, begin);
    if (!drop(c.value)) break;
    begin += c.length;
  }
  while (side != Side::kLeft && begin < end) {
    INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(set_size / 16)));
    const CodePoint c = DecodeBefore(view, end);
    if (!drop(c.value)) break;
    end -= c.length;
  }
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(view.size() - (end - begin)));
  return budget.MakeString(text.Substring(begin, end));
}

StatusOr<Value> ChangeCase(Budget& budget, const MarkedString& text, Case to) {
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.Charge(1 + static_cast<int64_t>(view.size() / 4)));
  TextBuilder out(budget);
  bool word_start = true;
  for (size_t i = 0; i < view.size() && out.ok();) {
    const CodePoint c = DecodeAt(view, i);
    bool upper = to == Case::kUpper;
    if (to == Case::kCapitalize) upper = i == 0;
    if (to == Case::kSwap) upper = IsLower(c.value);
    if (to == Case::kTitle) {
      upper = word_start;
      word_start = !IsUpper(c.value) && !IsLower(c.value);
    }
    if (to == Case::kFilterTitle) {
      upper = word_start;
      word_start = StartsFilterWord(c.value);
    }
    AppendMapped(out, upper ? ToUpper(c.value) : ToLower(c.value), text.TrustedAt(i));
    i += c.length;
  }
  return out.Finish();
}

StatusOr<Value> Replace(Budget& budget, const MarkedString& text, const MarkedString& from,
                        const MarkedString& to, int64_t count) {
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(view.size()));
  TextBuilder out(budget);
  size_t copied = 0;
  size_t at = 0;
  for (int64_t done = 0; (count < 0 || done < count) && out.ok(); ++done) {
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    const size_t found = FindText(view, from.text(), at);
    if (found == std::string_view::npos) break;
    out.AppendRange(text, copied, found);
    out.Append(to);
    copied = found + from.size();
    at = copied;
    if (from.empty()) {  // between all characters
      if (found >= view.size()) break;
      at = found + DecodeAt(view, found).length;
    }
  }
  out.AppendRange(text, copied, view.size());
  return out.Finish();
}

StatusOr<Value> Join(Budget& budget, const MarkedString& separator, const std::vector<Value>& items,
                     bool strict) {
  TextBuilder out(budget);
  for (size_t i = 0; i < items.size(); ++i) {
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    if (i > 0) out.Append(separator);
    if (strict && !items[i].IsString())
      return budget.Error("join() expected strings, found '" + std::string(items[i].TypeName()) +
                          "'");
    INFERD_RETURN_IF_ERROR(AppendStr(out, items[i]));
  }
  return out.Finish();
}

StatusOr<Value> Indent(Budget& budget, const MarkedString& text, const MarkedString& indent,
                       bool first, bool blank) {
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(view.size()));
  TextBuilder out(budget);
  bool first_line = true;
  for (size_t begin = 0; begin <= view.size() && out.ok();) {
    size_t end = begin;
    size_t next = view.size() + 1;
    while (end < view.size()) {
      const CodePoint c = DecodeAt(view, end);
      if (IsLineBreak(c.value)) {
        next = end + c.length;
        if (c.value == '\r' && next < view.size() && view[next] == '\n') ++next;
        break;
      }
      end += c.length;
    }
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    // A line break that ends the text begins no line of its own for "\n" only
    // because a line end is added: "a\n" has the lines "a" and "".
    if (!first_line) out.Append("\n", begin > 0 && text.TrustedAt(begin - 1));
    if (first_line ? first : (blank || end > begin)) out.Append(indent);
    out.AppendRange(text, begin, end);
    first_line = false;
    begin = next;
  }
  return out.Finish();
}

StatusOr<Value> Pad(Budget& budget, const MarkedString& text, int64_t width, uint32_t fill,
                    bool fill_trusted, Side text_side) {
  const auto length = static_cast<int64_t>(CountCodePoints(text.text()));
  const int64_t missing = width > length ? width - length : 0;
  INFERD_RETURN_IF_ERROR(budget.CheckString(static_cast<size_t>(missing)));
  INFERD_RETURN_IF_ERROR(budget.Charge(missing / 16));
  int64_t before = 0;
  if (text_side == Side::kRight) before = missing;
  // Python puts the odd one before only when the width is odd.
  if (text_side == Side::kBoth) before = missing / 2 + (missing & width & 1);
  std::string unit;
  AppendUtf8(unit, fill);
  TextBuilder out(budget);
  for (int64_t i = 0; i < before && out.ok(); ++i) out.Append(unit, fill_trusted);
  out.Append(text);
  for (int64_t i = before; i < missing && out.ok(); ++i) out.Append(unit, fill_trusted);
  return out.Finish();
}

StatusOr<Value> Reversed(Budget& budget, const MarkedString& text) {
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.Charge(1 + static_cast<int64_t>(view.size() / 4)));
  TextBuilder out(budget);
  for (size_t end = view.size(); end > 0 && out.ok();) {
    const size_t begin = end - DecodeBefore(view, end).length;
    out.AppendRange(text, begin, end);
    end = begin;
  }
  return out.Finish();
}

StatusOr<Value> EscapeHtml(Budget& budget, const MarkedString& text) {
  TextBuilder out(budget);
  size_t copied = 0;
  for (size_t i = 0; i < text.size() && out.ok(); ++i) {
    const std::string_view escape = HtmlEscape(text.text()[i]);
    if (escape.empty()) continue;
    out.AppendRange(text, copied, i);
    out.Append(escape, text.TrustedAt(i));
    copied = i + 1;
  }
  out.AppendRange(text, copied, text.size());
  return out.Finish();
}

int64_t CountWords(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeAt(text, i);
    const bool word = c.value == '_' || IsAlnum(c.value);
    if (word && !inside) ++words;
    inside = word;
    i += c.length;
  }
  return words;
}

}  // namespace inferd::chat_template
