#include "config/value_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace inferd::config {
namespace {

struct Unit {
  std::string_view suffix;
  int64_t factor;
};

// Largest first, so that formatting finds the largest unit that divides.
constexpr std::array<Unit, 4> kDurationUnits{
    {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit, 5> kSizeUnits{
    {{"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1}}};

// A non-negative decimal number and a unit; the product must be a whole number.
template <size_t N>
StatusOr<int64_t> ParseWithUnit(std::string_view text, const std::array<Unit, N>& units,
                                bool bare_allowed, std::string_view expected) {
  const Status error = InvalidArgumentError(expected);
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (code != std::errc() || !(number >= 0)) return error;
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  int64_t factor = 0;
  if (suffix.empty() && (bare_allowed || number == 0)) factor = 1;
  for (const Unit& unit : units) {
    if (suffix == unit.suffix) factor = unit.factor;
  }
  if (factor == 0) return error;
  const double product = number * static_cast<double>(factor);
  if (product > 9e18 || product != std::floor(product)) return error;
  return static_cast<int64_t>(product);
}

template <size_t N>
std::string FormatWithUnit(int64_t value, const std::array<Unit, N>& units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) {
      return std::to_string(value / unit.factor) + std::string(unit.suffix);
    }
  }
  return std::to_string(value);
}

}  // namespace

StatusOr<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc() || rest != end) return InvalidArgumentError("expected an integer");
  return value;
}

StatusOr<double> ParseNumber(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc() || rest != end || !std::isfinite(value)) {
    return InvalidArgumentError("expected a number");
  }
  return value;
}

StatusOr<bool> ParseBoolean(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return InvalidArgumentError("expected true or false");
}

StatusOr<int64_t> ParseDurationMs(std::string_view text) {
  return ParseWithUnit(text, kDurationUnits, /*bare_allowed=*/false,
                       "expected a duration such as 500ms, 30s, 10m or 1h");
}

StatusOr<int64_t> ParseSizeBytes(std::string_view text) {
  return ParseWithUnit(text, kSizeUnits, /*bare_allowed=*/true,
                       "expected a size such as 65536, 64KiB, 8MiB or 2GiB");
}

std::string FormatNumber(double value) {
  std::array<char, 32> buffer;
  const auto [end, code] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return code == std::errc() ? std::string(buffer.data(), end) : std::string("0");
}

std::string FormatDurationMs(int64_t ms) { return FormatWithUnit(ms, kDurationUnits); }

std::string FormatSizeBytes(int64_t bytes) { return FormatWithUnit(bytes, kSizeUnits); }

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> pieces;
  if (Trim(text).empty()) return pieces;
  size_t begin = 0;
  for (;;) {
    const size_t comma = text.find(',', begin);
    pieces.push_back(Trim(text.substr(begin, comma - begin)));
    if (comma == std::string_view::npos) return pieces;
    begin = comma + 1;
  }
}

}  // namespace inferd::config
