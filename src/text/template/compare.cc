#include <cstring>

#include "text/template/operators.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

// -1, 0, 1; 2 when one is not a number. long double holds every int64_t.
int CompareNumbers(const Value& a, const Value& b) {
  if (a.IsIntegral() && b.IsIntegral())
    return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int() ? 1 : 0;
  const auto wide = [](const Value& v) {
    return v.IsIntegral() ? static_cast<long double>(v.as_int())
                          : static_cast<long double>(v.as_float());
  };
  const long double x = wide(a);
  const long double y = wide(b);
  return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

StatusOr<bool> EqualLists(Budget& budget, const Value& a, const Value& b) {
  const auto group = [](Flavor flavor) {
    return flavor == Flavor::kIterator ? Flavor::kView : flavor;
  };
  if (group(a.list().flavor) != group(b.list().flavor)) return false;
  if (group(a.list().flavor) == Flavor::kView) return &a.list() == &b.list();
  if (a.items().size() != b.items().size()) return false;
  for (size_t i = 0; i < a.items().size(); ++i) {
    INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, a.items()[i], b.items()[i]));
    if (!equal) return false;
  }
  return true;
}

// The value of any key; null when there is none.
StatusOr<const Value*> FindKey(Budget& budget, const DictObject& dict, const Value& key) {
  const auto size = static_cast<int64_t>(dict.entries.size());
  if (key.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.Charge(dict.sorted.empty() ? 1 + size / 16 : 2));
    return dict.Find(key.text());
  }
  INFERD_ASSIGN_OR_RETURN(const std::string hash, KeyText(budget, key));
  (void)hash;  // only asks whether it can be a key
  for (const auto& [name, value] : dict.entries) {
    INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, name, key));
    if (equal) return &value;
  }
  return nullptr;
}

StatusOr<bool> EqualDicts(Budget& budget, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    INFERD_ASSIGN_OR_RETURN(const Value* other, FindKey(budget, b, key));
    if (other == nullptr) return false;
    INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, value, *other));
    if (!equal) return false;
  }
  return true;
}

StatusOr<bool> Contains(Budget& budget, const Value& container, const Value& item) {
  if (container.IsString()) {
    if (item.IsUndefined()) return budget.UndefinedError(item);
    if (!item.IsString())
      return budget.Error("'in <string>' requires string as left operand, not " +
                          std::string(item.TypeName()));
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(container.text().size()));
    return FindText(container.text(), item.text(), 0) != std::string_view::npos;
  }
  if (container.IsDict()) {
    INFERD_ASSIGN_OR_RETURN(const Value* found, FindKey(budget, container.dict(), item));
    return found != nullptr;
  }
  if (container.IsListKind()) {
    for (const Value& candidate : container.items()) {
      INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, candidate, item));
      if (equal) return true;
    }
    return false;
  }
  if (container.IsUndefined()) return false;
  return budget.Error("argument of type '" + std::string(container.TypeName()) +
                      "' is not iterable");
}

// Whether `order` (-1, 0, 1) satisfies `op`.
bool Satisfies(Operator op, int order) {
  switch (op) {
    case Operator::kLess:
      return order == -1;
    case Operator::kLessEqual:
      return order == -1 || order == 0;
    case Operator::kGreater:
      return order == 1;
    default:
      return order == 1 || order == 0;
  }
}

std::string_view Symbol(Operator op) {
  switch (op) {
    case Operator::kLess:
      return "<";
    case Operator::kLessEqual:
      return "<=";
    case Operator::kGreater:
      return ">";
    default:
      return ">=";
  }
}

StatusOr<bool> CompareOrder(Budget& budget, Operator op, const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return Satisfies(op, CompareNumbers(a, b));
  if (a.IsString() && b.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(std::min(a.text().size(), b.text().size())));
    const int order = a.text().compare(b.text());
    return Satisfies(op, order < 0 ? -1 : order > 0 ? 1 : 0);
  }
  if (a.IsSequence() && b.IsSequence() && a.list().flavor == b.list().flavor &&
      a.list().flavor != Flavor::kRange) {
    for (size_t i = 0; i < a.items().size() && i < b.items().size(); ++i) {
      INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, a.items()[i], b.items()[i]));
      if (!equal) return CompareOrder(budget, op, a.items()[i], b.items()[i]);
    }
    const size_t left = a.items().size();
    const size_t right = b.items().size();
    return Satisfies(op, left < right ? -1 : left > right ? 1 : 0);
  }
  if (a.IsUndefined()) return budget.UndefinedError(a);
  if (b.IsUndefined()) return budget.UndefinedError(b);
  return budget.Error("'" + std::string(Symbol(op)) + "' not supported between instances of '" +
                      std::string(a.TypeName()) + "' and '" + std::string(b.TypeName()) + "'");
}

}  // namespace

size_t FindText(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

StatusOr<bool> Equals(Budget& budget, const Value& a, const Value& b) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      if (a.text().size() != b.text().size()) return false;
      INFERD_RETURN_IF_ERROR(budget.ChargeBytes(a.text().size()));
      return a.text() == b.text();
    case Kind::kList:
      return EqualLists(budget, a, b);
    case Kind::kDict:
      return EqualDicts(budget, a.dict(), b.dict());
    case Kind::kNamespace:
      return &a.name_space() == &b.name_space();
    case Kind::kMacro:
      return &a.macro() == &b.macro();
    case Kind::kBuiltin:
      return a.builtin() == b.builtin();
    default:
      return false;
  }
}

StatusOr<bool> Compare(Budget& budget, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return Equals(budget, a, b);
    case Operator::kNotEqual: {
      INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, a, b));
      return !equal;
    }
    case Operator::kIn:
      return Contains(budget, b, a);
    case Operator::kNotIn: {
      INFERD_ASSIGN_OR_RETURN(const bool contained, Contains(budget, b, a));
      return !contained;
    }
    default:
      return CompareOrder(budget, op, a, b);
  }
}

}  // namespace inferd::chat_template
