#include <array>

#include "text/template/filters.h"
#include "text/template/operators.h"
#include "text/template/tests.h"

namespace inferd::chat_template {
namespace {

using Flavor = ListObject::Flavor;

// map("filter", arguments…) or map(attribute="a.b", default=x).
StatusOr<Value> Map(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  std::vector<Value> items;
  items.reserve(list.items().size());
  if (arguments.positional.empty()) {
    INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                            Bind(budget, "map", arguments, {"attribute", "default"}, 1));
    for (const Value& item : list.items()) {
      INFERD_ASSIGN_OR_RETURN(const Value value, GetPath(budget, item, *bound.Get(0)));
      const bool use_default = value.IsUndefined() && bound.Get(1) != nullptr;
      items.push_back(use_default ? *bound.Get(1) : value);
    }
    return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
  }
  const Value& name = arguments.positional[0];
  const int filter = name.IsString() ? FindFilter(name.text()) : -1;
  if (filter < 0)
    return budget.Error("map: unknown filter" +
                        (name.IsString() ? " '" + name.string().text() + "'" : std::string()));
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : list.items()) {
    INFERD_ASSIGN_OR_RETURN(Value value, ApplyFilter(budget, filter, item, rest));
    items.push_back(std::move(value));
  }
  return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
}

// Keeps the items whose test (or truth), of the item or of an attribute, is
// kWanted.
template <bool kWanted, bool kAttribute>
StatusOr<Value> Choose(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!input.Truthy()) return budget.MakeList({}, Flavor::kIterator, input.trusted());
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  Arguments rest = arguments;
  Value attribute;
  if (kAttribute) {
    if (rest.positional.empty()) return budget.Error("Missing parameter for attribute name");
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  int test = -1;
  if (!rest.positional.empty()) {
    const Value& name = rest.positional[0];
    test = name.IsString() ? FindTest(name.text()) : -1;
    if (test < 0)
      return budget.Error("unknown test" +
                          (name.IsString() ? " '" + name.string().text() + "'" : std::string()));
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> items;
  for (const Value& item : list.items()) {
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    Value subject = item;
    if (kAttribute) {
      INFERD_ASSIGN_OR_RETURN(subject, GetPath(budget, item, attribute));
    }
    INFERD_ASSIGN_OR_RETURN(const bool holds, test < 0 ? StatusOr<bool>(subject.Truthy())
                                                       : ApplyTest(budget, test, subject, rest));
    if (holds == kWanted) items.push_back(item);
  }
  return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
}

constexpr std::array<FilterEntry, 5> kFilters = {{
    {"map", Map},
    {"select", Choose<true, false>},
    {"reject", Choose<false, false>},
    {"selectattr", Choose<true, true>},
    {"rejectattr", Choose<false, true>},
}};

}  // namespace

FilterFunction FindSelectFilter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace inferd::chat_template
