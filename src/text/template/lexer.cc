#include "text/template/lexer.h"

#include <algorithm>
#include <array>

#include "text/template/budget.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNameChar(char c) { return IsNameStart(c) || IsAsciiDigit(c); }

// One pass over the source; text outside tags becomes kData tokens.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  StatusOr<std::vector<Token>> Run() {
    while (position_ < source_.size()) {
      const size_t tag = FindTag();
      if (tag == std::string_view::npos) {
        Emit(Type::kData, position_, source_.size());
        break;
      }
      INFERD_RETURN_IF_ERROR(LexTag(tag));
    }
    tokens_.push_back({Type::kEnd, line_, {}});
    return std::move(tokens_);
  }

 private:
  char At(size_t i) const { return i < source_.size() ? source_[i] : '\0'; }
  bool StartsWith(size_t i, std::string_view text) const {
    return source_.substr(std::min(i, source_.size()), text.size()) == text;
  }
  size_t SkipSpace(size_t i) const {
    while (i < source_.size()) {
      const CodePoint c = DecodeAt(source_, i);
      if (!IsSpace(c.value)) break;
      i += c.length;
    }
    return i;
  }
  size_t FindTag() const {
    for (size_t i = source_.find('{', position_); i != std::string_view::npos;
         i = source_.find('{', i + 1)) {
      const char next = At(i + 1);
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return std::string_view::npos;
  }

  // Sets the position, counting the lines up to it.
  void MoveTo(size_t position) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<long>(position_),
                                         source_.begin() + static_cast<long>(position), '\n'));
    position_ = position;
  }
  void Emit(Type type, size_t begin, size_t end) {
    tokens_.push_back({type, line_, source_.substr(begin, end - begin)});
  }

  // The text before a tag, stripped as the tag's sign and kind ask.
  void EmitData(size_t end, char sign, bool is_variable) {
    std::string_view text = source_.substr(position_, end - position_);
    if (sign == '-') {
      text = StripSpaceRight(text);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = text.rfind('\n');
      const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      if (line_start > 0 || line_starting_) {
        if (StripSpace(text.substr(line_start)).empty()) text = text.substr(0, line_start);
      }
    }
    if (!text.empty()) tokens_.push_back({Type::kData, line_, text});
    MoveTo(end);
  }

  // Past a tag's end at `i`, which is at its sign or its first character.
  // `trim`: swallow the line end after it.
  size_t PastEnd(size_t i, bool trim) const {
    if (At(i) == '-') return SkipSpace(i + 3);
    if (At(i) == '+') return i + 3;
    i += 2;
    return trim && At(i) == '\n' ? i + 1 : i;
  }
  void FinishTag(size_t end) {
    line_starting_ = end > 0 && source_[end - 1] == '\n';
    MoveTo(end);
  }

  Status LexTag(size_t tag) {
    const char sign = At(tag + 2) == '-' || At(tag + 2) == '+' ? At(tag + 2) : '\0';
    const size_t body = tag + (sign == '\0' ? 2 : 3);
    if (source_[tag + 1] == '#') {
      EmitData(tag, sign, /*is_variable=*/false);
      return LexComment(body);
    }
    if (source_[tag + 1] == '%') {
      if (const size_t raw = RawBegin(body); raw != 0) {
        EmitData(tag, sign, /*is_variable=*/false);
        return LexRaw(raw);
      }
      EmitData(tag, sign, /*is_variable=*/false);
      Emit(Type::kBlockBegin, tag, body);
      MoveTo(body);
      return LexCode("%}");
    }
    EmitData(tag, sign, /*is_variable=*/true);
    Emit(Type::kVariableBegin, tag, body);
    MoveTo(body);
    return LexCode("}}");
  }

  Status LexComment(size_t body) {
    const size_t end = source_.find("#}", body);
    if (end == std::string_view::npos) return CompileError(line_, "Missing end of comment tag");
    const bool has_sign = end > body && (source_[end - 1] == '-' || source_[end - 1] == '+');
    FinishTag(PastEnd(has_sign ? end - 1 : end, /*trim=*/true));
    return OkStatus();
  }

  // Past "raw %}" at `i`; 0 when that is not there.
  size_t RawBegin(size_t i) const {
    i = SkipSpace(i);
    if (!StartsWith(i, "raw")) return 0;
    i = SkipSpace(i + 3);
    if (StartsWith(i, "-%}")) return SkipSpace(i + 3);
    return StartsWith(i, "%}") ? i + 2 : 0;
  }

  Status LexRaw(size_t body) {
    FinishTag(body);
    for (size_t i = source_.find("{%", body); i != std::string_view::npos;
         i = source_.find("{%", i + 1)) {
      const char sign = At(i + 2) == '-' || At(i + 2) == '+' ? At(i + 2) : '\0';
      size_t end = SkipSpace(i + (sign == '\0' ? 2 : 3));
      if (!StartsWith(end, "endraw")) continue;
      end = SkipSpace(end + 6);
      const size_t close = At(end) == '-' || At(end) == '+' ? end + 1 : end;
      if (!StartsWith(close, "%}")) continue;
      EmitData(i, sign, /*is_variable=*/false);
      FinishTag(PastEnd(end, /*trim=*/true));
      return OkStatus();
    }
    return CompileError(line_, "Missing end of raw directive");
  }

  // The inside of {{ }} or {% %} and its end.
  Status LexCode(std::string_view close) {
    const bool block = close == "%}";
    std::vector<char> open;
    while (position_ < source_.size()) {
      if (open.empty()) {
        const char c = source_[position_];
        const bool has_sign = (c == '-' || (c == '+' && block)) && StartsWith(position_ + 1, close);
        if (has_sign || StartsWith(position_, close)) {
          Emit(block ? Type::kBlockEnd : Type::kVariableEnd, position_, position_);
          FinishTag(PastEnd(position_, block));
          return OkStatus();
        }
      }
      if (const size_t end = SkipSpace(position_); end != position_) {
        MoveTo(end);
        continue;
      }
      INFERD_RETURN_IF_ERROR(LexToken(open));
    }
    return CompileError(line_, "unexpected end of template, expected '" + std::string(close) + "'");
  }

  Status LexToken(std::vector<char>& open) {
    const char c = source_[position_];
    if (IsAsciiDigit(c)) return LexNumber();
    if (IsNameStart(c)) {
      size_t end = position_ + 1;
      while (IsNameChar(At(end))) ++end;
      return Finish(Type::kName, end);
    }
    if (c == '\'' || c == '"') {
      size_t end = position_ + 1;
      while (end < source_.size() && source_[end] != c) end += source_[end] == '\\' ? 2 : 1;
      if (end >= source_.size()) return CompileError(line_, "a string is not closed");
      return Finish(Type::kString, end + 1);
    }
    static constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    for (std::string_view op : kLong) {
      if (StartsWith(position_, op)) return Finish(Type::kOperator, position_ + 2);
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      return CompileError(
          line_, "unexpected character '" +
                     std::string(source_.substr(position_, DecodeAt(source_, position_).length)) +
                     "'");
    if (c == '(' || c == '[' || c == '{') open.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c)
        return CompileError(line_, std::string("unexpected '") + c + "'");
      open.pop_back();
    }
    return Finish(Type::kOperator, position_ + 1);
  }

  // Past digits that may be grouped by single underscores.
  template <typename Predicate>
  size_t PastDigits(size_t i, Predicate is_digit) const {
    while (is_digit(At(i)) || (At(i) == '_' && is_digit(At(i + 1)))) ++i;
    return i;
  }

  Status LexNumber() {
    const char kind = static_cast<char>(At(position_ + 1) | 0x20);
    if (source_[position_] == '0' && (kind == 'x' || kind == 'o' || kind == 'b')) {
      const auto is_digit = [kind](char c) {
        if (kind == 'x') return IsAsciiDigit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
        return c >= '0' && c < (kind == 'o' ? '8' : '2');
      };
      const size_t end = PastDigits(position_ + 2, is_digit);
      if (end > position_ + 2) return Finish(Type::kInteger, end);
    }
    const size_t whole = PastDigits(position_, IsAsciiDigit);
    size_t end = whole;
    // After a dot ("x.1.2") there are no floats.
    if (position_ == 0 || source_[position_ - 1] != '.') {
      if (At(end) == '.' && IsAsciiDigit(At(end + 1))) end = PastDigits(end + 1, IsAsciiDigit);
      if ((At(end) | 0x20) == 'e') {
        size_t exponent = end + 1;
        if (At(exponent) == '+' || At(exponent) == '-') ++exponent;
        if (IsAsciiDigit(At(exponent))) end = PastDigits(exponent, IsAsciiDigit);
      }
    }
    if (end > whole) return Finish(Type::kFloat, end);
    if (source_[position_] == '0') {
      const size_t zeros = PastDigits(position_, [](char c) { return c == '0'; });
      return Finish(Type::kInteger, zeros);
    }
    return Finish(Type::kInteger, whole);
  }

  Status Finish(Type type, size_t end) {
    Emit(type, position_, end);
    MoveTo(end);
    return OkStatus();
  }

  std::string_view source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // what came last ended a line
  std::vector<Token> tokens_;
};

}  // namespace

std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

StatusOr<std::vector<Token>> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace inferd::chat_template
