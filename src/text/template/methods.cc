#include "text/template/methods.h"

#include <algorithm>
#include <array>

#include "text/template/operators.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

template <size_t N>
bool Has(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 5> kDictMethods = {"items", "keys", "values", "get", "copy"};
constexpr std::array<std::string_view, 5> kDictForbidden = {"clear", "pop", "popitem", "setdefault",
                                                            "update"};
constexpr std::array<std::string_view, 2> kTupleMethods = {"count", "index"};
constexpr std::array<std::string_view, 8> kListForbidden = {"append", "clear", "pop",    "reverse",
                                                            "insert", "sort",  "extend", "remove"};
constexpr std::array<std::string_view, 2> kLoopMethods = {"cycle", "changed"};

StatusOr<Value> CallDictMethod(Budget& budget, const Value& self, std::string_view name,
                               const Arguments& arguments) {
  if (name == "get") {
    INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                            Bind(budget, name, arguments, {"key", "default"}, 1));
    if (!arguments.keywords.empty()) return budget.Error("get() takes no keyword arguments");
    INFERD_ASSIGN_OR_RETURN(const bool found, Compare(budget, Operator::kIn, *bound.Get(0), self));
    if (found) return GetItem(budget, self, *bound.Get(0));
    return bound.Get(1) == nullptr ? Value::None() : *bound.Get(1);
  }
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {}, 0));
  if (name == "copy") return self;
  std::vector<Value> items;
  items.reserve(self.dict().entries.size());
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(self.dict().entries.size())));
  for (const auto& [key, value] : self.dict().entries) {
    if (name == "items") {
      INFERD_ASSIGN_OR_RETURN(Value pair,
                              budget.MakeList({key, value}, Flavor::kTuple, self.trusted()));
      items.push_back(std::move(pair));
    } else {
      items.push_back(name == "keys" ? key : value);
    }
  }
  return budget.MakeList(std::move(items), Flavor::kView, self.trusted(),
                         "dict_" + std::string(name));
}

StatusOr<Value> CallListMethod(Budget& budget, const Value& self, std::string_view name,
                               const Arguments& arguments) {
  if (name == "copy") {
    INFERD_ASSIGN_OR_RETURN(const BoundArguments none, Bind(budget, name, arguments, {}, 0));
    return self;
  }
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"value"}, 1));
  int64_t count = 0;
  for (size_t i = 0; i < self.items().size(); ++i) {
    INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, self.items()[i], *bound.Get(0)));
    if (equal && name == "index") return Value::Int(static_cast<int64_t>(i));
    if (equal) ++count;
  }
  if (name == "index") return budget.Error("the value is not in the list");
  return Value::Int(count);
}

StatusOr<Value> CallLoopMethod(Budget& budget, const Value& self, std::string_view name,
                               const Arguments& arguments) {
  if (!arguments.keywords.empty())
    return budget.Error(std::string(name) + "() takes no keyword arguments");
  const std::vector<Value>& values = arguments.positional;
  if (name == "cycle") {
    if (values.empty()) return budget.Error("no items for cycling given");
    return values[self.loop().index0 % values.size()];
  }
  LoopObject& loop = const_cast<LoopObject&>(self.loop());  // made mutable by its loop
  bool same = loop.has_changed_value && loop.changed_value.size() == values.size();
  for (size_t i = 0; same && i < values.size(); ++i) {
    INFERD_ASSIGN_OR_RETURN(same, Equals(budget, loop.changed_value[i], values[i]));
  }
  if (same) return Value::Bool(false);
  for (const Value& value : values) {
    if (!value.plain()) return budget.Error("changed() takes plain values");
  }
  loop.has_changed_value = true;
  loop.changed_value = values;
  return Value::Bool(true);
}

}  // namespace

bool HasMethod(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return IsStringMethod(name);
    case Kind::kDict:
      return Has(kDictMethods, name);
    case Kind::kList:
      if (object.list().flavor > Flavor::kRange) return false;
      return Has(kTupleMethods, name) || (object.list().flavor == Flavor::kList && name == "copy");
    case Kind::kLoop:
      return Has(kLoopMethods, name);
    default:
      return false;
  }
}

bool IsForbiddenMethod(const Value& object, std::string_view name) {
  if (object.IsDict()) return Has(kDictForbidden, name);
  return object.IsListKind() && object.list().flavor == Flavor::kList && Has(kListForbidden, name);
}

StatusOr<Value> MakeMethod(Budget& budget, const Value& object, std::string_view name) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  return Value::Method(
      std::make_shared<const MethodObject>(MethodObject{object, std::string(name)}));
}

StatusOr<Value> CallMethod(Budget& budget, const MethodObject& method, const Arguments& arguments) {
  switch (method.self.kind()) {
    case Kind::kString:
      return CallStringMethod(budget, method.self.string(), method.name, arguments);
    case Kind::kDict:
      return CallDictMethod(budget, method.self, method.name, arguments);
    case Kind::kList:
      return CallListMethod(budget, method.self, method.name, arguments);
    default:
      return CallLoopMethod(budget, method.self, method.name, arguments);
  }
}

}  // namespace inferd::chat_template
