#include <cmath>

#include "text/template/format.h"
#include "text/template/operators.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

Status TypeError(Budget& budget, std::string_view symbol, const Value& a, const Value& b) {
  if (a.IsUndefined()) return budget.UndefinedError(a);
  if (b.IsUndefined()) return budget.UndefinedError(b);
  return budget.Error("unsupported operand type(s) for " + std::string(symbol) + ": '" +
                      std::string(a.TypeName()) + "' and '" + std::string(b.TypeName()) + "'");
}

std::string_view Symbol(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    default:
      return "**";
  }
}

Status Overflow(Budget& budget) { return budget.Error("integer overflow"); }

StatusOr<int64_t> IntPower(Budget& budget, int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return Overflow(budget);
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return Overflow(budget);
  }
  return result;
}

int64_t FloorModulo(int64_t a, int64_t b) {
  if (b == -1) return 0;  // also where a / b would overflow
  const int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

StatusOr<Value> IntArithmetic(Budget& budget, Operator op, int64_t a, int64_t b, bool trusted) {
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return Overflow(budget);
      return Value::Int(result, trusted);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return Overflow(budget);
      return Value::Int(result, trusted);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return Overflow(budget);
      return Value::Int(result, trusted);
    case Operator::kPower: {
      if (b < 0) {
        if (a == 0) return budget.Error("0.0 cannot be raised to a negative power");
        return Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)), trusted);
      }
      INFERD_ASSIGN_OR_RETURN(result, IntPower(budget, a, b));
      return Value::Int(result, trusted);
    }
    default:
      break;
  }
  if (b == 0) return budget.Error("division by zero");
  if (op == Operator::kDivide) {
    const long double quotient = static_cast<long double>(a) / static_cast<long double>(b);
    return Value::Float(static_cast<double>(quotient), trusted);
  }
  if (op == Operator::kModulo) return Value::Int(FloorModulo(a, b), trusted);
  if (b == -1) {
    if (__builtin_sub_overflow(int64_t{0}, a, &result)) return Overflow(budget);
    return Value::Int(result, trusted);
  }
  return Value::Int((a - FloorModulo(a, b)) / b, trusted);
}

StatusOr<Value> FloatArithmetic(Budget& budget, Operator op, double a, double b, bool trusted) {
  switch (op) {
    case Operator::kAdd:
      return Value::Float(a + b, trusted);
    case Operator::kSubtract:
      return Value::Float(a - b, trusted);
    case Operator::kMultiply:
      return Value::Float(a * b, trusted);
    case Operator::kPower: {
      if (a == 0 && b < 0) return budget.Error("0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(b) && b != std::floor(b))
        return budget.Error("complex numbers are not supported");
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        return budget.Error("float overflow");
      return Value::Float(result, trusted);
    }
    default:
      break;
  }
  if (b == 0) return budget.Error("float division by zero");
  if (op == Operator::kDivide) return Value::Float(a / b, trusted);
  // As Python does it: the remainder has the sign of the divisor.
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::kModulo) return Value::Float(remainder, trusted);
  if (quotient == 0) return Value::Float(std::copysign(0.0, a / b), trusted);
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1;
  return Value::Float(floored, trusted);
}

StatusOr<Value> Concatenate(Budget& budget, const Value& a, const Value& b) {
  if (a.IsString()) {
    TextBuilder out(budget);
    out.Append(a.string());
    out.Append(b.string());
    return out.Finish();
  }
  INFERD_RETURN_IF_ERROR(
      budget.Charge(static_cast<int64_t>(a.items().size() + b.items().size()) / 2));
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return budget.MakeList(std::move(items), a.list().flavor, a.trusted() && b.trusted());
}

StatusOr<Value> Repeat(Budget& budget, const Value& value, int64_t count) {
  if (count < 0) count = 0;
  const size_t size = value.IsString() ? value.text().size() : value.items().size();
  if (size == 0) count = 0;
  int64_t total = 0;
  if (__builtin_mul_overflow(count, static_cast<int64_t>(size), &total))
    return budget.Error("the result is too long");
  if (value.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.CheckString(static_cast<size_t>(total)));
    INFERD_RETURN_IF_ERROR(budget.Charge(count));
    TextBuilder out(budget);
    for (int64_t i = 0; i < count && out.ok(); ++i) out.Append(value.string());
    return out.Finish();
  }
  INFERD_RETURN_IF_ERROR(budget.Charge(total));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(total));
  for (int64_t i = 0; i < count; ++i)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return budget.MakeList(std::move(items), value.list().flavor, value.trusted());
}

bool IsRepeatable(const Value& value) {
  return value.IsString() || (value.IsSequence() && value.list().flavor != Flavor::kRange);
}

}  // namespace

StatusOr<Value> Arithmetic(Budget& budget, Operator op, const Value& a, const Value& b) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  const bool trusted = a.trusted() && b.trusted();
  if (a.IsIntegral() && b.IsIntegral())
    return IntArithmetic(budget, op, a.as_int(), b.as_int(), trusted);
  if (a.IsNumber() && b.IsNumber())
    return FloatArithmetic(budget, op, a.as_float(), b.as_float(), trusted);
  if (op == Operator::kAdd && IsRepeatable(a) && a.kind() == b.kind() && IsRepeatable(b) &&
      (a.IsString() || a.list().flavor == b.list().flavor))
    return Concatenate(budget, a, b);
  if (op == Operator::kMultiply && IsRepeatable(a) && b.IsIntegral())
    return Repeat(budget, a, b.as_int());
  if (op == Operator::kMultiply && IsRepeatable(b) && a.IsIntegral())
    return Repeat(budget, b, a.as_int());
  if (op == Operator::kModulo && a.IsString()) return PercentFormat(budget, a.string(), b);
  return TypeError(budget, Symbol(op), a, b);
}

StatusOr<Value> Unary(Budget& budget, Operator op, const Value& value) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (value.IsUndefined()) return budget.UndefinedError(value);
  if (!value.IsNumber())
    return budget.Error("bad operand type for unary operator: '" + std::string(value.TypeName()) +
                        "'");
  if (value.Is(Kind::kFloat))
    return Value::Float(op == Operator::kSubtract ? -value.as_float() : value.as_float(),
                        value.trusted());
  if (op == Operator::kAdd) return Value::Int(value.as_int(), value.trusted());
  return IntArithmetic(budget, Operator::kSubtract, 0, value.as_int(), value.trusted());
}

}  // namespace inferd::chat_template
