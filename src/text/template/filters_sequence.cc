#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "text/template/filters.h"
#include "text/template/operators.h"
#include "text/template/printer.h"
#include "text/template/text_ops.h"

namespace inferd::chat_template {
namespace {

using Flavor = ListObject::Flavor;

// A string in lower case unless case matters; other values as they are.
StatusOr<Value> FoldCase(Budget& budget, Value value, bool case_sensitive) {
  if (case_sensitive || !value.IsString()) return value;
  return ChangeCase(budget, value.string(), Case::kLower);
}

// The keys to sort `items` by: attribute (several, with commas) or the item.
StatusOr<std::vector<Value>> SortKeys(Budget& budget, const std::vector<Value>& items,
                                      const Value* attribute, bool case_sensitive) {
  std::vector<Value> paths;
  if (attribute != nullptr && attribute->IsString()) {
    const MarkedString comma(",", true);
    INFERD_ASSIGN_OR_RETURN(const Value parts,
                            Split(budget, attribute->string(), &comma, -1, false));
    paths = parts.items();
  } else if (attribute != nullptr && !attribute->IsNone()) {
    paths.push_back(*attribute);
  }
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    std::vector<Value> parts;
    for (const Value& path : paths) {
      INFERD_ASSIGN_OR_RETURN(Value part, GetPath(budget, item, path));
      INFERD_ASSIGN_OR_RETURN(part, FoldCase(budget, std::move(part), case_sensitive));
      parts.push_back(std::move(part));
    }
    if (paths.empty()) {
      INFERD_ASSIGN_OR_RETURN(Value part, FoldCase(budget, item, case_sensitive));
      parts.push_back(std::move(part));
    }
    if (parts.size() == 1) {
      keys.push_back(std::move(parts[0]));
    } else {
      INFERD_ASSIGN_OR_RETURN(Value key, budget.MakeList(std::move(parts), Flavor::kList, true));
      keys.push_back(std::move(key));
    }
  }
  return keys;
}

// Merges the sorted runs order[begin, middle) and order[middle, end). Keys that
// do not compare are an error, which std::sort could not report.
Status Merge(Budget& budget, const std::vector<Value>& keys, bool reverse,
             std::vector<size_t>& order, size_t begin, size_t middle, size_t end,
             std::vector<size_t>& scratch) {
  size_t left = begin;
  size_t right = middle;
  for (size_t out = begin; out < end; ++out) {
    bool take_right = left == middle;
    if (left < middle && right < end) {
      const Value& a = keys[order[left]];
      const Value& b = keys[order[right]];
      INFERD_ASSIGN_OR_RETURN(take_right, reverse ? Compare(budget, Operator::kLess, a, b)
                                                  : Compare(budget, Operator::kLess, b, a));
    }
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    scratch[out] = take_right ? order[right++] : order[left++];
  }
  std::copy(scratch.begin() + static_cast<long>(begin), scratch.begin() + static_cast<long>(end),
            order.begin() + static_cast<long>(begin));
  return OkStatus();
}

// Stable order of the keys, from the least (or, reversed, the greatest).
StatusOr<std::vector<size_t>> SortedOrder(Budget& budget, const std::vector<Value>& keys,
                                          bool reverse) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<size_t> scratch(keys.size());
  for (size_t width = 1; width < keys.size(); width *= 2) {
    for (size_t begin = 0; begin + width < keys.size(); begin += 2 * width) {
      INFERD_RETURN_IF_ERROR(Merge(budget, keys, reverse, order, begin, begin + width,
                                   std::min(begin + 2 * width, keys.size()), scratch));
    }
  }
  return order;
}

StatusOr<Value> Sort(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      Bind(budget, "sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  INFERD_ASSIGN_OR_RETURN(const std::vector<Value> keys,
                          SortKeys(budget, list.items(), bound.Get(2), bound.Truthy(1, false)));
  INFERD_ASSIGN_OR_RETURN(const std::vector<size_t> order,
                          SortedOrder(budget, keys, bound.Truthy(0, false)));
  std::vector<Value> items;
  items.reserve(order.size());
  for (const size_t i : order) items.push_back(list.items()[i]);
  return budget.MakeList(std::move(items), Flavor::kList, input.trusted());
}

StatusOr<Value> DictSort(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "dictsort", arguments,
                                                           {"case_sensitive", "by", "reverse"}, 0));
  if (input.IsUndefined()) return budget.UndefinedError(input);
  if (!input.IsDict()) return budget.Error("dictsort takes a mapping");
  INFERD_ASSIGN_OR_RETURN(const MarkedString by,
                          bound.String(budget, 1, MarkedString("key", true)));
  if (by.text() != "key" && by.text() != "value")
    return budget.Error("dictsort sorts by 'key' or 'value'");
  std::vector<Value> keys;
  for (const auto& [key, value] : input.dict().entries) {
    INFERD_ASSIGN_OR_RETURN(
        Value folded, FoldCase(budget, by.text() == "key" ? key : value, bound.Truthy(0, false)));
    keys.push_back(std::move(folded));
  }
  INFERD_ASSIGN_OR_RETURN(const std::vector<size_t> order,
                          SortedOrder(budget, keys, bound.Truthy(2, false)));
  std::vector<Value> items;
  items.reserve(order.size());
  for (const size_t i : order) {
    const auto& [key, value] = input.dict().entries[i];
    INFERD_ASSIGN_OR_RETURN(Value pair,
                            budget.MakeList({key, value}, Flavor::kTuple, input.trusted()));
    items.push_back(std::move(pair));
  }
  return budget.MakeList(std::move(items), Flavor::kList, input.trusted());
}

template <bool kMax>
StatusOr<Value> Extreme(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, kMax ? "max" : "min", arguments,
                                                           {"case_sensitive", "attribute"}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  if (list.items().empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  INFERD_ASSIGN_OR_RETURN(const std::vector<Value> keys,
                          SortKeys(budget, list.items(), bound.Get(1), bound.Truthy(0, false)));
  size_t best = 0;
  for (size_t i = 1; i < keys.size(); ++i) {
    INFERD_ASSIGN_OR_RETURN(
        const bool better,
        Compare(budget, kMax ? Operator::kGreater : Operator::kLess, keys[i], keys[best]));
    if (better) best = i;
  }
  return list.items()[best];
}

StatusOr<Value> Unique(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "unique", arguments, {"case_sensitive", "attribute"}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  std::set<std::string> seen;
  std::vector<Value> items;
  for (const Value& item : list.items()) {
    Value key = item;
    if (bound.Get(1) != nullptr && !bound.Get(1)->IsNone()) {
      INFERD_ASSIGN_OR_RETURN(key, GetPath(budget, item, *bound.Get(1)));
    }
    INFERD_ASSIGN_OR_RETURN(key, FoldCase(budget, std::move(key), bound.Truthy(0, false)));
    INFERD_ASSIGN_OR_RETURN(std::string text, KeyText(budget, key));
    if (seen.insert(std::move(text)).second) items.push_back(item);
  }
  return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
}

StatusOr<Value> Sum(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "sum", arguments, {"attribute", "start"}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  Value total = bound.Get(1) == nullptr ? Value::Int(0) : *bound.Get(1);
  if (total.IsString()) return budget.Error("sum() can't sum strings");
  for (const Value& item : list.items()) {
    Value addend = item;
    if (bound.Get(0) != nullptr && !bound.Get(0)->IsNone()) {
      INFERD_ASSIGN_OR_RETURN(addend, GetPath(budget, item, *bound.Get(0)));
    }
    INFERD_ASSIGN_OR_RETURN(total, Arithmetic(budget, Operator::kAdd, total, addend));
  }
  return total;
}

StatusOr<Value> JoinFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "join", arguments, {"d", "attribute"}, 0));
  INFERD_ASSIGN_OR_RETURN(Value list, ToIterable(budget, input));
  MarkedString separator;
  if (bound.Get(0) != nullptr) {
    INFERD_ASSIGN_OR_RETURN(separator, Str(budget, *bound.Get(0)));
  }
  if (bound.Get(1) == nullptr || bound.Get(1)->IsNone())
    return Join(budget, separator, list.items(), /*strict=*/false);
  std::vector<Value> items;
  for (const Value& item : list.items()) {
    INFERD_ASSIGN_OR_RETURN(Value part, GetPath(budget, item, *bound.Get(1)));
    items.push_back(std::move(part));
  }
  return Join(budget, separator, items, /*strict=*/false);
}

StatusOr<Value> First(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "first", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  if (list.items().empty()) return Value::Undefined("No first item, sequence was empty.");
  return list.items().front();
}

StatusOr<Value> Last(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "last", arguments, {}, 0));
  if (input.IsListKind() && input.list().flavor == Flavor::kIterator)
    return budget.Error("'generator' object is not reversible");
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  if (list.items().empty()) return Value::Undefined("No last item, sequence was empty.");
  return list.items().back();
}

StatusOr<Value> ListFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "list", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  if (list.list().flavor == Flavor::kList) return list;
  return budget.MakeList(list.items(), Flavor::kList, input.trusted());
}

StatusOr<Value> Reverse(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "reverse", arguments, {}, 0));
  if (input.IsString()) return Reversed(budget, input.string());
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, input));
  std::vector<Value> items(list.items().rbegin(), list.items().rend());
  return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
}

StatusOr<Value> Items(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "items", arguments, {}, 0));
  std::vector<Value> items;
  if (!input.IsUndefined()) {
    if (!input.IsDict()) return budget.Error("Can only get item pairs from a mapping.");
    for (const auto& [key, value] : input.dict().entries) {
      INFERD_ASSIGN_OR_RETURN(Value pair,
                              budget.MakeList({key, value}, Flavor::kTuple, input.trusted()));
      items.push_back(std::move(pair));
    }
  }
  return budget.MakeList(std::move(items), Flavor::kIterator, input.trusted());
}

constexpr std::array<FilterEntry, 12> kFilters = {{
    {"sort", Sort},
    {"dictsort", DictSort},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"unique", Unique},
    {"sum", Sum},
    {"join", JoinFilter},
    {"first", First},
    {"last", Last},
    {"list", ListFilter},
    {"reverse", Reverse},
    {"items", Items},
}};

}  // namespace

FilterFunction FindSequenceFilter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace inferd::chat_template
