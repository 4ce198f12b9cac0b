#include "kernels/cuda/ptx/lexer.h"

#include <algorithm>
#include <charconv>

namespace inferd::cuda::ptx {
namespace {

bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

}  // namespace

void Lexer::Advance() {
  while (next_ < text_.size()) {
    const char c = text_[next_];
    if (c == '\n') {
      ++line_;
      ++next_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++next_;
    } else if (text_.substr(next_, 2) == "//") {
      next_ = std::min(text_.find('\n', next_), text_.size());
    } else if (text_.substr(next_, 2) == "/*") {
      const size_t end = std::min(text_.find("*/", next_ + 2), text_.size());
      for (; next_ < end; ++next_) line_ += text_[next_] == '\n' ? 1 : 0;
      next_ = std::min(end + 2, text_.size());
    } else {
      break;
    }
  }
  position_ = next_;
  if (next_ >= text_.size()) {
    token_ = {{}, line_};
    return;
  }
  size_t end = next_ + 1;
  if (text_[next_] == '"') {
    end = std::min(text_.find('"', end), text_.size() - 1) + 1;
  } else if (IsWord(text_[next_])) {
    while (end < text_.size()) {
      if (IsWord(text_[end])) {
        ++end;
      } else if (text_.substr(end, 2) == "::") {
        end += 2;
      } else {
        break;
      }
    }
  }
  token_ = {text_.substr(next_, end - next_), line_};
  next_ = end;
}

std::optional<Number> ParseNumber(std::string_view text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  int base = 10;
  Number number = {0, 0};
  const std::string_view prefix = text.substr(0, 2);
  if (prefix == "0f" || prefix == "0F" || prefix == "0d" || prefix == "0D") {
    base = 16;
    number.float_bytes = prefix[1] == 'f' || prefix[1] == 'F' ? 4 : 8;
    text.remove_prefix(2);
    if (text.size() != size_t{2} * number.float_bytes) return std::nullopt;
  } else if (prefix == "0x" || prefix == "0X") {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  if (number.float_bytes == 0 && text.size() > 1 && text.back() == 'U') text.remove_suffix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number.bits, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace inferd::cuda::ptx
