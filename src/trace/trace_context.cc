#include "inferd/trace/trace_context.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace inferd {
namespace {

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool IsZero(std::string_view text) { return text.find_first_not_of('0') == text.npos; }

int DigitOf(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

std::string RandomHex(EntropySource& entropy) {
  std::array<char, 24> buffer{};
  unsigned long long bits = 0;
  while (bits == 0) bits = entropy.Next64();
  std::snprintf(buffer.data(), buffer.size(), "%016llx", bits);
  return buffer.data();
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view text) {
  // version "-" trace id (32) "-" parent id (16) "-" flags (2), all hexadecimal
  constexpr size_t kSize = 55;
  if (text.size() < kSize || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return std::nullopt;
  }
  const std::string_view version = text.substr(0, 2);
  const std::string_view trace_id = text.substr(3, 32);
  const std::string_view parent = text.substr(36, 16);
  const std::string_view flags = text.substr(53, 2);
  const bool known = version == "00";
  if (!IsHex(version) || version == "ff" || (known && text.size() != kSize) ||
      (text.size() > kSize && text[kSize] != '-')) {
    return std::nullopt;
  }
  if (!IsHex(trace_id) || IsZero(trace_id) || !IsHex(parent) || IsZero(parent) || !IsHex(flags)) {
    return std::nullopt;
  }
  return TraceContext{std::string(trace_id), std::string(parent), (DigitOf(flags[1]) & 1) != 0};
}

TraceContext ReadTraceContext(std::string_view traceparent, double sample_ratio,
                              EntropySource& entropy) {
  if (auto context = ParseTraceparent(traceparent)) return *std::move(context);
  if (sample_ratio <= 0) return {};
  // 53 bits, as a double holds them.
  const double draw = static_cast<double>(entropy.Next64() >> 11) * 0x1.0p-53;
  if (draw >= sample_ratio) return {};
  return {RandomHex(entropy) + RandomHex(entropy), {}, true};
}

std::string NewSpanId(EntropySource& entropy) { return RandomHex(entropy); }

}  // namespace inferd
