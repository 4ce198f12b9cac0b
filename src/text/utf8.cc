#include "inferd/text/utf8.h"

#include <cstring>

namespace inferd::text {
namespace {

// Length of the run of ASCII at `position`.
size_t AsciiRun(std::string_view text, size_t position) {
  size_t i = position;
  while (i + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
    i += 8;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i - position;
}

}  // namespace

Utf8Step ClassifyUtf8(std::string_view text) {
  using enum Utf8Step::Kind;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {kValid, 1};
  size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {kInvalid, 1};
  }
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {kIncomplete, i};
    if (byte(i) < low || byte(i) > high) return {kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {kValid, length};
}

bool IsValidUtf8(std::string_view text) {
  size_t i = 0;
  while (true) {
    i += AsciiRun(text, i);
    if (i == text.size()) return true;
    const Utf8Step step = ClassifyUtf8(text.substr(i));
    if (step.kind != Utf8Step::Kind::kValid) return false;
    i += step.length;
  }
}

CodePoint DecodeUtf8(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[position + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) {
    return {((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  }
  return {
      ((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F),
      4};
}

size_t PreviousUtf8(std::string_view text, size_t position) {
  do {
    --position;
  } while ((static_cast<unsigned char>(text[position]) & 0xC0) == 0x80);
  return position;
}

void AppendUtf8(char32_t c, std::string& out) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t AppendLossyUtf8(std::string_view bytes, std::string& out) {
  size_t i = 0;
  while (true) {
    const size_t ascii = AsciiRun(bytes, i);
    out.append(bytes, i, ascii);
    i += ascii;
    if (i == bytes.size()) return 0;
    const Utf8Step step = ClassifyUtf8(bytes.substr(i));
    switch (step.kind) {
      case Utf8Step::Kind::kValid:
        out.append(bytes, i, step.length);
        break;
      case Utf8Step::Kind::kInvalid:
        out.append(kReplacementCharacter);
        break;
      case Utf8Step::Kind::kIncomplete:
        return step.length;
    }
    i += step.length;
  }
}

}  // namespace inferd::text
