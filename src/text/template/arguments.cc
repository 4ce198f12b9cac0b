#include "text/template/arguments.h"

#include <algorithm>

namespace inferd::chat_template {

StatusOr<int64_t> BoundArguments::Int(Budget& budget, size_t i, int64_t fallback) const {
  if (values_[i] == nullptr) return fallback;
  if (!values_[i]->IsIntegral())
    return budget.Error("expected an integer, got '" + std::string(values_[i]->TypeName()) + "'");
  return values_[i]->as_int();
}

bool BoundArguments::Truthy(size_t i, bool fallback) const {
  return values_[i] == nullptr ? fallback : values_[i]->Truthy();
}

StatusOr<MarkedString> BoundArguments::String(Budget& budget, size_t i,
                                              MarkedString fallback) const {
  if (values_[i] == nullptr) return fallback;
  if (!values_[i]->IsString())
    return budget.Error("expected a string, got '" + std::string(values_[i]->TypeName()) + "'");
  return values_[i]->string();
}

StatusOr<BoundArguments> Bind(Budget& budget, std::string_view function, const Arguments& arguments,
                              std::initializer_list<std::string_view> names, size_t required) {
  const std::string prefix = std::string(function) + "() ";
  if (arguments.positional.size() > names.size())
    return budget.Error(prefix + "takes at most " + std::to_string(names.size()) + " arguments");
  BoundArguments bound(names.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound.Set(i, &arguments.positional[i]);
  for (const auto& [name, value] : arguments.keywords) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end())
      return budget.Error(prefix + "got an unexpected argument '" + name + "'");
    const auto i = static_cast<size_t>(it - names.begin());
    if (bound.Get(i) != nullptr)
      return budget.Error(prefix + "got multiple values for argument '" + name + "'");
    bound.Set(i, &value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.Get(i) == nullptr)
      return budget.Error(prefix + "misses argument '" + std::string(names.begin()[i]) + "'");
  }
  return bound;
}

}  // namespace inferd::chat_template
