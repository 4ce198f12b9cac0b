#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "text/template/filters.h"
#include "text/template/operators.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;

StatusOr<Value> Default(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "default", arguments, {"default_value", "boolean"}, 0));
  if (!input.IsUndefined() && !(bound.Truthy(1, false) && !input.Truthy())) return input;
  return bound.Get(0) == nullptr ? Value::String("", true) : *bound.Get(0);
}

// Digits with single underscores between them and a sign, without white space
// around, ready for from_chars; nothing when it is not of that shape.
std::optional<std::string> NumberText(std::string_view text) {
  text = StripSpace(text);
  std::string out;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    if (text[0] == '-') out.push_back('-');
    text.remove_prefix(1);
  }
  if (text.empty() || text[0] == '-' || text[0] == '+') return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](size_t at) {
      return at < text.size() &&
             ((text[at] >= '0' && text[at] <= '9') || (text[at] >= 'a' && text[at] <= 'z') ||
              (text[at] >= 'A' && text[at] <= 'Z'));
    };
    if (text[i] == '_' && i > 0 && is_digit(i - 1) && is_digit(i + 1)) continue;
    out.push_back(text[i]);
  }
  return out;
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::optional<std::string> digits = NumberText(text);
  if (!digits.has_value()) return std::nullopt;
  double value = 0;
  const char* end = digits->data() + digits->size();
  const auto result = std::from_chars(digits->data(), end, value);
  if (result.ptr != end) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) {
    const bool tiny =
        digits->find("e-") != std::string::npos || digits->find("E-") != std::string::npos;
    return tiny ? 0.0 : (*digits)[0] == '-' ? -HUGE_VAL : HUGE_VAL;
  }
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

StatusOr<Value> FromFloat(Budget& budget, double value, const Value& fallback, bool trusted) {
  if (std::isnan(value) || std::isinf(value)) return fallback;
  if (std::abs(value) >= 9.2e18) return budget.Error("integer overflow");
  return Value::Int(static_cast<int64_t>(value), trusted);
}

StatusOr<Value> IntFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "int", arguments, {"default", "base"}, 0));
  const Value fallback = bound.Get(0) == nullptr ? Value::Int(0) : *bound.Get(0);
  INFERD_ASSIGN_OR_RETURN(const int64_t base, bound.Int(budget, 1, 10));
  if (input.IsUndefined()) return budget.UndefinedError(input);
  if (input.IsIntegral()) return Value::Int(input.as_int(), input.trusted());
  if (input.Is(Kind::kFloat)) return FromFloat(budget, input.as_float(), fallback, input.trusted());
  if (!input.IsString()) return fallback;
  if (base != 10 && base != 2 && base != 8 && base != 16)
    return budget.Error("the base must be 2, 8, 10 or 16");
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(input.text().size()));
  std::optional<std::string> digits = NumberText(input.text());
  if (!digits.has_value()) return fallback;
  const size_t start = !digits->empty() && (*digits)[0] == '-' ? 1 : 0;
  const char prefix = digits->size() > start + 2 && (*digits)[start] == '0'
                          ? static_cast<char>((*digits)[start + 1] | 0x20)
                          : '\0';
  if ((base == 16 && prefix == 'x') || (base == 8 && prefix == 'o') || (base == 2 && prefix == 'b'))
    digits->erase(start, 2);
  int64_t value = 0;
  const char* end = digits->data() + digits->size();
  const auto result = std::from_chars(digits->data(), end, value, static_cast<int>(base));
  if (result.ptr == end && result.ec == std::errc()) return Value::Int(value, input.trusted());
  if (result.ptr == end && result.ec == std::errc::result_out_of_range)
    return budget.Error("integer overflow");
  const std::optional<double> number = ParseFloat(input.text());
  if (!number.has_value()) return fallback;
  return FromFloat(budget, *number, fallback, input.trusted());
}

StatusOr<Value> FloatFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "float", arguments, {"default"}, 0));
  const Value fallback = bound.Get(0) == nullptr ? Value::Float(0) : *bound.Get(0);
  if (input.IsUndefined()) return budget.UndefinedError(input);
  if (input.IsNumber()) return Value::Float(input.as_float(), input.trusted());
  if (!input.IsString()) return fallback;
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(input.text().size()));
  const std::optional<double> number = ParseFloat(input.text());
  return number.has_value() ? Value::Float(*number, input.trusted()) : fallback;
}

StatusOr<Value> Abs(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "abs", arguments, {}, 0));
  if (input.Is(Kind::kFloat)) return Value::Float(std::abs(input.as_float()), input.trusted());
  if (input.IsIntegral() && input.as_int() >= 0) return Value::Int(input.as_int(), input.trusted());
  return Unary(budget, Operator::kSubtract, input);
}

// Python's round(): half to even on the exact decimal value of the double.
double RoundHalfEven(double value, int64_t places) {
  if (places > 22 || !std::isfinite(value)) return value;
  if (places == 0) return std::nearbyint(value);
  if (places > 0) {
    char buffer[400];
    std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(places), value);
    return std::strtod(buffer, nullptr);
  }
  if (places < -308) return std::copysign(0.0, value);
  const long double scale = std::pow(10.0L, static_cast<long double>(-places));
  return static_cast<double>(std::nearbyint(static_cast<long double>(value) / scale) * scale);
}

StatusOr<Value> Round(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "round", arguments, {"precision", "method"}, 0));
  INFERD_ASSIGN_OR_RETURN(const int64_t places, bound.Int(budget, 0, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString method,
                          bound.String(budget, 1, MarkedString("common", true)));
  if (input.IsUndefined()) return budget.UndefinedError(input);
  if (!input.IsNumber()) return budget.Error("round takes a number");
  if (method.text() == "common") {
    if (input.IsIntegral()) {
      if (places >= 0) return Value::Int(input.as_int(), input.trusted());
      return FromFloat(budget, RoundHalfEven(input.as_float(), places), Value(), input.trusted());
    }
    return Value::Float(RoundHalfEven(input.as_float(), places), input.trusted());
  }
  if (method.text() != "ceil" && method.text() != "floor")
    return budget.Error("method must be common, ceil or floor");
  if (places > 300 || places < -300) return budget.Error("precision out of range");
  const double scale = std::pow(10.0, static_cast<double>(places));
  const double scaled = input.as_float() * scale;
  return Value::Float((method.text() == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale,
                      input.trusted());
}

StatusOr<Value> LengthFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "length", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const int64_t length, Length(budget, input));
  return Value::Int(length);
}

StatusOr<Value> Attr(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "attr", arguments, {"name"}, 1));
  INFERD_ASSIGN_OR_RETURN(MarkedString name, bound.String(budget, 0, {}));
  // Attributes only, no items.
  if (input.IsDict() || input.IsUndefined()) return Value::Undefined("no such attribute");
  return GetAttribute(budget, input, Value::String(std::move(name)));
}

constexpr std::array<FilterEntry, 9> kFilters = {{
    {"d", Default},
    {"default", Default},
    {"int", IntFilter},
    {"float", FloatFilter},
    {"abs", Abs},
    {"round", Round},
    {"length", LengthFilter},
    {"count", LengthFilter},
    {"attr", Attr},
}};

}  // namespace

FilterFunction FindValueFilter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace inferd::chat_template
