#include "text/json_cursor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "inferd/text/utf8.h"

namespace inferd::text {
namespace {

enum CharacterClass : unsigned char { kPlain, kHigh, kStop };

// kStop: the end of a run of a string's content, kHigh: part of a character that
// is not ASCII.
constexpr std::array<CharacterClass, 256> MakeClasses() {
  std::array<CharacterClass, 256> classes{};
  for (size_t c = 0; c < 256; ++c) {
    classes[c] = c < 0x20 || c == '"' || c == '\\' ? kStop : c < 0x80 ? kPlain : kHigh;
  }
  return classes;
}
constexpr std::array<CharacterClass, 256> kClasses = MakeClasses();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool JsonCursor::String(std::string_view* content) {
  if (!Take('"')) return false;
  const size_t begin = at_;
  unsigned seen = 0;
  while (at_ < text_.size()) {
    const CharacterClass kind = kClasses[static_cast<unsigned char>(text_[at_])];
    if (kind == kStop) break;
    seen |= kind;
    ++at_;
  }
  if (Peek() == '\\') return Unescape(content, begin);
  if (Peek() != '"') return false;
  *content = text_.substr(begin, at_ - begin);
  ++at_;
  return (seen & kHigh) == 0 || IsValidUtf8(*content);
}

// From the first backslash on. The escapes of a string are longer than what they
// stand for.
bool JsonCursor::Unescape(std::string_view* content, size_t begin) {
  if (unescaped_ == nullptr) unescaped_ = std::make_unique_for_overwrite<char[]>(text_.size());
  char* const first = unescaped_.get() + used_;
  char* out = first;
  const auto copy = [&](size_t from) {
    if (from < at_) std::memcpy(out, text_.data() + from, at_ - from);
    out += at_ - from;
  };
  copy(begin);
  while (Peek() != '"') {
    if (Peek() != '\\' || !Escape(&out)) return false;
    const size_t from = at_;
    while (at_ < text_.size() && kClasses[static_cast<unsigned char>(text_[at_])] != kStop) ++at_;
    copy(from);
  }
  ++at_;
  *content = {first, static_cast<size_t>(out - first)};
  used_ += content->size();
  return IsValidUtf8(*content);
}

bool JsonCursor::Escape(char** out) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  ++at_;
  if (at_ == text_.size()) return false;
  const char name = text_[at_++];
  if (name != 'u') {
    const size_t index = kNames.find(name);
    if (index == std::string_view::npos) return false;
    *(*out)++ = kMeanings[index];
    return true;
  }
  char32_t c = 0;
  if (!Hex(&c)) return false;
  // The first half of a pair; a second one alone will not be valid UTF-8.
  if (c >= 0xD800 && c <= 0xDBFF) {
    char32_t low = 0;
    if (text_.substr(at_, 2) != "\\u") return false;
    at_ += 2;
    if (!Hex(&low) || low < 0xDC00 || low > 0xDFFF) return false;
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  std::string bytes;
  AppendUtf8(c, bytes);
  *out = std::copy(bytes.begin(), bytes.end(), *out);
  return true;
}

bool JsonCursor::Hex(char32_t* value) {
  if (text_.size() - at_ < 4) return false;
  for (int i = 0; i < 4; ++i) {
    const char c = text_[at_++];
    const char lower = static_cast<char>(c | 0x20);
    if (!IsDigit(c) && (lower < 'a' || lower > 'f')) return false;
    *value = *value * 16 + static_cast<char32_t>(IsDigit(c) ? c - '0' : lower - 'a' + 10);
  }
  return true;
}

bool JsonCursor::Unsigned(int64_t* value) {
  constexpr size_t kMaxDigits = 18;
  size_t end = at_;
  int64_t sum = 0;
  while (end < text_.size() && end - at_ < kMaxDigits && IsDigit(text_[end])) {
    sum = sum * 10 + (text_[end++] - '0');
  }
  const size_t digits = end - at_;
  if (digits == 0 || (digits > 1 && text_[at_] == '0')) return false;
  if (end == text_.size() || !EndsValue(text_[end])) return false;
  at_ = end;
  *value = sum;
  return true;
}

bool JsonCursor::Skip() {
  const size_t begin = at_;
  int64_t open = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
        if (text_[at_] == '\\') ++at_;
      }
      if (at_ >= text_.size()) return false;
      ++at_;
    } else if (c == '{' || c == '[') {
      ++open;
      ++at_;
    } else if (open > 0) {
      if (c == '}' || c == ']') --open;
      ++at_;
    } else {
      while (at_ < text_.size() && !EndsValue(text_[at_])) ++at_;
      return at_ > begin;
    }
    if (open == 0) return true;
  }
  return false;
}

}  // namespace inferd::text
