// Tokens of PTX. A name keeps its dots and double colons: `ld.global.L2::128B` is one
// word, and so are `%tid.x`, `.reg` and `$L__BB0_2`. Numbers are words as well.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inferd::cuda::ptx {

struct Token {
  std::string_view text;  // empty at the end
  int line = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text, int line = 1) : text_(text), line_(line) { Advance(); }

  const Token& token() const { return token_; }
  bool AtEnd() const { return token_.text.empty(); }
  bool Is(std::string_view text) const { return token_.text == text; }
  // Where the token begins.
  size_t position() const { return position_; }
  Token Take() {
    const Token taken = token_;
    Advance();
    return taken;
  }
  // Passes the token if it is `text`.
  bool Skip(std::string_view text) {
    if (!Is(text)) return false;
    Advance();
    return true;
  }
  // Passes all that is left of the line of `line`.
  void SkipLine(int line) {
    while (!AtEnd() && token_.line == line) Advance();
  }
  // From now on there is nothing: what a parser does after an error.
  void Stop() {
    next_ = text_.size();
    token_ = {{}, token_.line};
  }

 private:
  void Advance();

  std::string_view text_;
  size_t next_ = 0;
  size_t position_ = 0;
  int line_;
  Token token_;
};

struct Number {
  uint64_t bits;
  uint8_t float_bytes;  // 4 and 8: 0f and 0d; 0: an integer
};
// Of an unsigned integer, decimal, octal or hexadecimal, or of a float's bits.
std::optional<Number> ParseNumber(std::string_view text);

}  // namespace inferd::cuda::ptx
