#include "text/template/unicode.h"

#include <algorithm>

#include "text/template/unicode_tables.h"

namespace inferd::chat_template {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Length of the well-formed sequence at `p`, 0 when there is none.
size_t SequenceLength(const unsigned char* p, size_t left) {
  const unsigned char lead = p[0];
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || left < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && p[1] < 0xA0) return 0;  // overlong
  if (lead == 0xED && p[1] > 0x9F) return 0;  // surrogate
  if (lead == 0xF0 && p[1] < 0x90) return 0;  // overlong
  if (lead == 0xF4 && p[1] > 0x8F) return 0;  // past U+10FFFF
  return length;
}

template <typename Ranges>
bool InRanges(const Ranges& ranges, uint32_t c) {
  auto it = std::upper_bound(ranges.begin(), ranges.end(), c,
                             [](uint32_t value, const auto& range) { return value < range.first; });
  return it != ranges.begin() && c <= std::prev(it)->last;
}

template <typename Runs, typename Longs>
std::array<uint32_t, 3> MapCase(const Runs& runs, const Longs& longs, uint32_t c) {
  auto it = std::upper_bound(runs.begin(), runs.end(), c,
                             [](uint32_t value, const auto& run) { return value < run.first; });
  if (it != runs.begin()) {
    const CaseRun& run = *std::prev(it);
    if (c <= run.last && (c - run.first) % run.stride == 0) {
      return {static_cast<uint32_t>(static_cast<int64_t>(c) + run.delta), 0, 0};
    }
  }
  for (const LongCase& entry : longs) {
    if (entry.from == c) return entry.to;
  }
  return {c, 0, 0};
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    const size_t length = SequenceLength(p + i, text.size() - i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

CodePoint DecodeAt(std::string_view text, size_t position) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + position;
  if (p[0] < 0x80) return {p[0], 1};
  if (p[0] < 0xE0) return {(p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu), 2};
  if (p[0] < 0xF0) return {(p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu), 3};
  return {(p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu), 4};
}

CodePoint DecodeBefore(std::string_view text, size_t position) {
  size_t start = position - 1;
  while (start > 0 && IsContinuation(text[start])) --start;
  return DecodeAt(text, start);
}

void AppendUtf8(std::string& out, uint32_t c) {
  const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t CountCodePoints(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

size_t ByteOffset(std::string_view text, size_t index) {
  size_t position = 0;
  while (position < text.size()) {
    if (!IsContinuation(text[position])) {
      if (index == 0) return position;
      --index;
    }
    ++position;
  }
  return text.size();
}

bool IsSpace(uint32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsAlpha(uint32_t c) { return InRanges(kAlphaRanges, c); }
bool IsDigit(uint32_t c) { return InRanges(kDigitRanges, c); }
bool IsAlnum(uint32_t c) { return IsAlpha(c) || InRanges(kNumericRanges, c); }
bool IsPrintable(uint32_t c) { return InRanges(kPrintableRanges, c); }
bool IsLineBreak(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}
bool IsUpper(uint32_t c) { return ToLower(c)[0] != c; }
bool IsLower(uint32_t c) { return ToUpper(c)[0] != c && !IsUpper(c); }

std::array<uint32_t, 3> ToUpper(uint32_t c) {
  if (c < 0x80) return {c >= 'a' && c <= 'z' ? c - 32 : c, 0, 0};
  return MapCase(kUpperRuns, kUpperLong, c);
}

std::array<uint32_t, 3> ToLower(uint32_t c) {
  if (c < 0x80) return {c >= 'A' && c <= 'Z' ? c + 32 : c, 0, 0};
  return MapCase(kLowerRuns, kLowerLong, c);
}

std::string_view StripSpaceRight(std::string_view text) {
  while (!text.empty()) {
    const CodePoint last = DecodeBefore(text, text.size());
    if (!IsSpace(last.value)) break;
    text.remove_suffix(last.length);
  }
  return text;
}

std::string_view StripSpace(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = DecodeAt(text, 0);
    if (!IsSpace(first.value)) break;
    text.remove_prefix(first.length);
  }
  return StripSpaceRight(text);
}

}  // namespace inferd::chat_template
