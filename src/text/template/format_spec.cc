#include "text/template/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

constexpr int64_t kMaxPrecision = 300;

std::string Digits(uint64_t value, unsigned base, bool upper) {
  const char* names = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out.push_back(names[value % base]);
    value /= base;
  } while (value > 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string FloatDigits(double value, const FormatSpec& spec) {
  if (std::isinf(value)) return "inf";
  if (std::isnan(value)) return "nan";
  const char type = spec.type == '%' ? 'f' : spec.type;
  const char format[] = {'%', '.', '*', type, '\0'};
  std::string out(700, '\0');  // the largest double with kMaxPrecision places fits
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int length = std::snprintf(out.data(), out.size(), format, precision,
                                   spec.type == '%' ? value * 100 : value);
#pragma GCC diagnostic pop
  out.resize(static_cast<size_t>(length));
  return spec.type == '%' ? out + "%" : out;
}

void GroupThousands(std::string& digits) {
  size_t end = 0;
  while (end < digits.size() && digits[end] >= '0' && digits[end] <= '9') ++end;
  for (size_t at = end; at > 3; at -= 3) digits.insert(at - 3, ",");
}

}  // namespace

int64_t ReadNumber(std::string_view text, size_t& position) {
  int64_t value = 0;
  for (; position < text.size() && text[position] >= '0' && text[position] <= '9'; ++position)
    value = std::min<int64_t>(value * 10 + (text[position] - '0'), int64_t{1} << 31);
  return value;
}

Status AppendNumber(TextBuilder& out, const Value& value, const FormatSpec& spec) {
  Budget& budget = out.budget();
  if (value.IsUndefined()) return budget.UndefinedError(value);
  if (!value.IsNumber())
    return budget.Error("a number is required, not " + std::string(value.TypeName()));
  if (spec.precision > kMaxPrecision) return budget.Error("precision too big");
  const bool integer_type = std::string_view("bdoxX").find(spec.type) != std::string_view::npos;
  bool negative = false;
  std::string digits;
  if (integer_type) {
    if (!value.IsIntegral()) return budget.Error("an integer is required, not float");
    negative = value.as_int() < 0;
    const uint64_t bits = static_cast<uint64_t>(value.as_int());
    const unsigned base = spec.type == 'b' ? 2 : spec.type == 'o' ? 8 : spec.type == 'd' ? 10 : 16;
    digits = Digits(negative ? 0 - bits : bits, base, spec.type == 'X');
    if (spec.precision > static_cast<int64_t>(digits.size()))
      digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  } else {
    negative = std::signbit(value.as_float());
    digits = FloatDigits(std::abs(value.as_float()), spec);
  }
  if (spec.thousands) GroupThousands(digits);
  std::string sign = negative ? "-" : "";
  if (!negative && spec.sign != '-') sign = std::string(1, spec.sign);
  FormatSpec rest = spec;
  rest.precision = -1;
  if (rest.align == '\0') rest.align = '>';
  if (rest.align != '=')
    return AppendPadded(out, MarkedString(sign + digits, value.trusted()), rest);
  out.Append(sign, value.trusted());
  rest.align = '>';
  rest.width -= static_cast<int64_t>(sign.size());
  return AppendPadded(out, MarkedString(digits, value.trusted()), rest);
}

Status AppendPadded(TextBuilder& out, const MarkedString& text, const FormatSpec& spec) {
  Budget& budget = out.budget();
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(text.size()));
  const size_t end = spec.precision < 0
                         ? text.size()
                         : ByteOffset(text.text(), static_cast<size_t>(spec.precision));
  const auto length =
      static_cast<int64_t>(CountCodePoints(std::string_view(text.text()).substr(0, end)));
  const int64_t missing = std::max<int64_t>(0, spec.width - length);
  INFERD_RETURN_IF_ERROR(budget.CheckString(static_cast<size_t>(missing)));
  INFERD_RETURN_IF_ERROR(budget.Charge(missing / 16));
  int64_t before = 0;
  if (spec.align == '>' || spec.align == '=') before = missing;
  if (spec.align == '^') before = missing / 2;
  const bool trusted = text.trusted();
  for (int64_t i = 0; i < before && out.ok(); ++i) out.AppendCodePoint(spec.fill, trusted);
  out.AppendRange(text, 0, end);
  for (int64_t i = before; i < missing && out.ok(); ++i) out.AppendCodePoint(spec.fill, trusted);
  return out.status();
}

}  // namespace inferd::chat_template
