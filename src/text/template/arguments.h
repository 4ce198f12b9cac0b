// The arguments of a call, and matching them with parameter names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/budget.h"

namespace inferd::chat_template {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// Arguments by parameter number. Points into the Arguments it was made from.
class BoundArguments {
 public:
  explicit BoundArguments(size_t size) : values_(size) {}

  // Null when not given.
  const Value* Get(size_t i) const { return values_[i]; }
  void Set(size_t i, const Value* value) { values_[i] = value; }

  // The argument as the type asked for, `fallback` when not given.
  StatusOr<int64_t> Int(Budget& budget, size_t i, int64_t fallback) const;
  bool Truthy(size_t i, bool fallback) const;
  // An error when it is given and not a string.
  StatusOr<MarkedString> String(Budget& budget, size_t i, MarkedString fallback) const;

 private:
  std::vector<const Value*> values_;
};

// `names`: the parameters in order; the first `required` must be given.
StatusOr<BoundArguments> Bind(Budget& budget, std::string_view function, const Arguments& arguments,
                              std::initializer_list<std::string_view> names, size_t required);

}  // namespace inferd::chat_template
