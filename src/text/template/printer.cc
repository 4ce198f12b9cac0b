#include "text/template/printer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "text/template/escape.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

// What repr() writes for a character that does not stand for itself; empty
// when it does.
std::string ReprEscape(uint32_t c, char quote) {
  if (c == '\\' || c == static_cast<uint32_t>(quote))
    return std::string("\\") + static_cast<char>(c);
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (c >= 0x20 && c < 0x7F) return {};
  if (IsPrintable(c)) return {};
  if (c < 0x100) return "\\x" + Hex(c, 2);
  if (c < 0x10000) return "\\u" + Hex(c, 4);
  return "\\U" + Hex(c, 8);
}

void AppendReprString(TextBuilder& out, const MarkedString& text) {
  const bool has_single = text.text().find('\'') != std::string::npos;
  const bool has_double = text.text().find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out.Append(std::string_view(&quote, 1), text.trusted());
  AppendEscaped(out, text, [quote](uint32_t c) { return ReprEscape(c, quote); });
  out.Append(std::string_view(&quote, 1), text.trusted());
}

Status AppendReprList(TextBuilder& out, const Value& value) {
  const ListObject& list = value.list();
  const bool trusted = value.trusted();
  if (list.flavor == Flavor::kIterator) return out.budget().Error("an iterator cannot be printed");
  if (list.flavor == Flavor::kRange) {
    out.Append(list.label, trusted);
    return out.status();
  }
  const bool tuple = list.flavor == Flavor::kTuple;
  if (list.flavor == Flavor::kView) out.Append(list.label + "(", trusted);
  out.Append(tuple ? "(" : "[", trusted);
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.Append(", ", trusted);
    INFERD_RETURN_IF_ERROR(AppendRepr(out, list.items[i]));
  }
  if (tuple && list.items.size() == 1) out.Append(",", trusted);
  out.Append(tuple ? ")" : "]", trusted);
  if (list.flavor == Flavor::kView) out.Append(")", trusted);
  return out.status();
}

Status AppendReprDict(TextBuilder& out, const Value& value) {
  const bool trusted = value.trusted();
  out.Append("{", trusted);
  bool first = true;
  for (const auto& [key, item] : value.dict().entries) {
    if (!first) out.Append(", ", trusted);
    first = false;
    INFERD_RETURN_IF_ERROR(AppendRepr(out, key));
    out.Append(": ", trusted);
    INFERD_RETURN_IF_ERROR(AppendRepr(out, item));
  }
  out.Append("}", trusted);
  return out.status();
}

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return std::signbit(value) ? "-0.0" : "0.0";
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<size_t>(end.ptr - buffer.data()));
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t sign_skip = text[e + 1] == '+' ? 2 : 1;
  std::from_chars(text.data() + e + sign_skip, text.data() + text.size(), exponent);
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  std::string out = value < 0 ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    const int magnitude = exponent < 0 ? -exponent : exponent;
    out += exponent < 0 ? "e-" : "e+";
    return out + (magnitude < 10 ? "0" : "") + std::to_string(magnitude);
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

Status AppendRepr(TextBuilder& out, const Value& value) {
  INFERD_RETURN_IF_ERROR(out.budget().Charge(1));
  switch (value.kind()) {
    case Kind::kUndefined:
      out.Append("Undefined", true);
      return out.status();
    case Kind::kNone:
      out.Append("None", value.trusted());
      return out.status();
    case Kind::kBool:
      out.Append(value.as_bool() ? "True" : "False", value.trusted());
      return out.status();
    case Kind::kInt:
      out.Append(std::to_string(value.as_int()), value.trusted());
      return out.status();
    case Kind::kFloat:
      out.Append(FloatText(value.as_float()), value.trusted());
      return out.status();
    case Kind::kString:
      AppendReprString(out, value.string());
      return out.status();
    case Kind::kList:
      return AppendReprList(out, value);
    case Kind::kDict:
      return AppendReprDict(out, value);
    default:
      return out.budget().Error("a " + std::string(value.TypeName()) + " cannot be printed");
  }
}

Status AppendStr(TextBuilder& out, const Value& value) {
  if (value.IsUndefined()) return OkStatus();
  if (!value.IsString()) return AppendRepr(out, value);
  out.Append(value.string());
  return out.status();
}

StatusOr<MarkedString> Str(Budget& budget, const Value& value) {
  if (value.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(value.text().size()));
    return value.string();
  }
  TextBuilder out(budget);
  INFERD_RETURN_IF_ERROR(AppendStr(out, value));
  return out.Take();
}

StatusOr<Value> ToStringValue(Budget& budget, const Value& value) {
  if (value.IsString()) return value;
  INFERD_ASSIGN_OR_RETURN(MarkedString text, Str(budget, value));
  return Value::String(std::move(text));
}

}  // namespace inferd::chat_template
