// Walks over JSON text without building anything: for the long lists of a file,
// of which a tree would take ten times the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace inferd::text {

// Refers to the text. What returns a bool returns false where the text is not
// JSON there; where the cursor stands is then undefined.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  size_t position() const { return at_; }
  // The character at the cursor; 0 at the end.
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpace() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }
  // Skips white space, and `expected` if it comes next.
  bool Take(char expected) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != expected) return false;
    ++at_;
    return true;
  }

  // A string, whole and valid, RFC 8259 and 3629. `content` refers to the text, or,
  // if there are escapes in it, to what this cursor keeps of them.
  bool String(std::string_view* content);
  // An integer from 0 on, of at most 18 digits, up to what may follow a value. False
  // for any other value, too; the cursor has not moved then.
  bool Unsigned(int64_t* value);
  // Goes past the value at the cursor by its brackets and quotes alone: what is in it
  // need not be valid.
  bool Skip();
  // Back to a `position` of before, or past `count` bytes.
  void Rewind(size_t position) { at_ = position; }
  void SkipBytes(size_t count) { at_ += count; }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
  static bool EndsValue(char c) { return c == ',' || c == '}' || c == ']' || IsSpace(c); }
  bool Unescape(std::string_view* content, size_t begin);
  bool Escape(char** out);
  bool Hex(char32_t* value);

  std::string_view text_;
  size_t at_ = 0;
  std::unique_ptr<char[]> unescaped_;  // as long as the text, which no content exceeds
  size_t used_ = 0;                    // of it
};

}  // namespace inferd::text
