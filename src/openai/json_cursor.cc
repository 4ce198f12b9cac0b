#include "openai/json_cursor.h"

#include <algorithm>

#include "inferd/text/utf8.h"

namespace inferd::openai {
namespace {

char Unescaped(char letter) {
  switch (letter) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return letter;  // quote, backslash, slash
  }
}

}  // namespace

void JsonCursor::SkipSpace() {
  at_ = std::min(at_, text_.size());
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos) {
    ++at_;
  }
}

void JsonCursor::Take(char expected) {
  SkipSpace();
  if (At() == expected) ++at_;
}

JsonKind JsonCursor::Peek() {
  SkipSpace();
  switch (At()) {
    case '\0':
      return JsonKind::kEnd;
    case 'n':
      return JsonKind::kNull;
    case 't':
    case 'f':
      return JsonKind::kBool;
    case '"':
      return JsonKind::kString;
    case '[':
      return JsonKind::kArray;
    case '{':
      return JsonKind::kObject;
    default:
      return JsonKind::kNumber;
  }
}

bool JsonCursor::NextName(std::string* name) {
  Take(',');
  if (Peek() != JsonKind::kString) {
    Take('}');
    return false;
  }
  *name = TakeString();
  Take(':');
  return true;
}

bool JsonCursor::NextItem() {
  Take(',');
  SkipSpace();
  if (At() != ']' && At() != '\0') return true;
  Take(']');
  return false;
}

bool JsonCursor::TakeBool() { return TakeRaw() == "true"; }

char32_t JsonCursor::TakeHex() {
  char32_t value = 0;
  for (int i = 0; i < 4 && at_ < text_.size(); ++i, ++at_) {
    const char c = text_[at_];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value * 16 + static_cast<char32_t>(digit & 0xF);
  }
  return value;
}

std::string JsonCursor::TakeString() {
  std::string out;
  Take('"');
  while (at_ < text_.size() && text_[at_] != '"') {
    const size_t end = std::min(text_.find_first_of("\"\\", at_), text_.size());
    out.append(text_, at_, end - at_);
    at_ = end;
    if (At() != '\\') continue;
    ++at_;
    const char letter = At();
    ++at_;
    if (letter != 'u') {
      out += Unescaped(letter);
      continue;
    }
    char32_t code = TakeHex();
    if (code >= 0xD800 && code < 0xDC00) {  // the first half of a pair
      at_ += 2;                             // the next \u
      code = 0x10000 + ((code - 0xD800) << 10) + ((TakeHex() - 0xDC00) & 0x3FF);
    }
    text::AppendUtf8(code, out);
  }
  Take('"');
  return out;
}

std::string_view JsonCursor::TakeNumber() { return TakeRaw(); }

void JsonCursor::SkipString() {
  for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    if (text_[at_] == '\\') ++at_;
  }
  ++at_;
}

std::string_view JsonCursor::TakeRaw() {
  SkipSpace();
  const size_t begin = at_;
  if (const char c = At(); c != '"' && c != '{' && c != '[') {
    at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
    return text_.substr(begin, at_ - begin);
  }
  int64_t depth = 0;
  do {
    switch (At()) {
      case '"':
        SkipString();
        continue;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        --depth;
        break;
      default:
        break;
    }
    ++at_;
  } while (depth > 0 && at_ < text_.size());
  at_ = std::min(at_, text_.size());
  return text_.substr(begin, at_ - begin);
}

}  // namespace inferd::openai
