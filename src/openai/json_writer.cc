#include "openai/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "inferd/text/utf8.h"

namespace inferd::openai {

JsonWriter& JsonWriter::Open(char bracket) {
  Comma();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Name(std::string_view name) {
  Comma();
  Quoted(name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Comma();
  if (text::IsValidUtf8(value)) {
    Quoted(value);
    return *this;
  }
  std::string valid;
  if (text::AppendLossyUtf8(value, valid) > 0) valid += text::kReplacementCharacter;
  Quoted(valid);
  return *this;
}

JsonWriter& JsonWriter::Int(int64_t value) {
  Comma();
  std::array<char, 24> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out_.append(buffer.data(), end);
  return *this;
}

JsonWriter& JsonWriter::Float(float value) {
  if (!std::isfinite(value)) return Null();
  Comma();
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out_.append(buffer.data(), end);
  return *this;
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Comma();
  out_ += json;
  return *this;
}

void JsonWriter::Quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out_ += '"';
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7F) continue;
    out_.append(text, begin, i - begin);
    begin = i + 1;
    out_ += '\\';
    switch (byte) {
      case '"':
      case '\\':
        out_ += text[i];
        break;
      case '\n':
        out_ += 'n';
        break;
      case '\r':
        out_ += 'r';
        break;
      case '\t':
        out_ += 't';
        break;
      default:
        out_ += "u00";
        out_ += kHex[byte >> 4];
        out_ += kHex[byte & 0xF];
    }
  }
  out_.append(text, begin, text.size() - begin);
  out_ += '"';
}

}  // namespace inferd::openai
