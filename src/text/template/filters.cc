#include "text/template/filters.h"

#include <array>

namespace inferd::chat_template {
namespace {

// Every name, so that a compiled template can hold a number.
constexpr std::array<std::string_view, 42> kNames = {
    "abs",    "capitalize", "center",     "count",      "d",         "default",     "dictsort",
    "e",      "escape",     "first",      "float",      "format",    "indent",      "int",
    "items",  "join",       "last",       "length",     "list",      "lower",       "map",
    "max",    "min",        "reject",     "rejectattr", "replace",   "reverse",     "round",
    "safe",   "select",     "selectattr", "sort",       "string",    "sum",         "title",
    "tojson", "trim",       "unique",     "upper",      "wordcount", "forceescape", "attr",
};

FilterFunction Lookup(std::string_view name) {
  for (const auto find : {FindTextFilter, FindValueFilter, FindSequenceFilter, FindSelectFilter}) {
    if (const FilterFunction function = find(name); function != nullptr) return function;
  }
  return nullptr;
}

}  // namespace

int FindFilter(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (!name.empty() && kNames[i] == name) return static_cast<int>(i);
  }
  return -1;
}

StatusOr<Value> ApplyFilter(Budget& budget, int filter, const Value& input,
                            const Arguments& arguments) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  const FilterFunction function = Lookup(kNames[static_cast<size_t>(filter)]);
  INFERD_CHECK(function != nullptr);
  return function(budget, input, arguments);
}

}  // namespace inferd::chat_template
