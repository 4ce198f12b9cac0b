#include <ctime>

#include "text/template/interpreter.h"
#include "text/template/operators.h"
#include "text/template/printer.h"

namespace inferd::chat_template {
namespace {

using Flavor = ListObject::Flavor;

constexpr int64_t kMaxRange = 100'000;
constexpr size_t kMaxTimeFormat = 1024;
constexpr size_t kMaxTimeText = 16 * 1024;

StatusOr<Value> Range(Budget& budget, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "range", arguments, {"start", "stop", "step"}, 1));
  if (!arguments.keywords.empty()) return budget.Error("range() takes no keyword arguments");
  bool trusted = true;
  for (const Value& argument : arguments.positional) {
    if (argument.IsUndefined()) return budget.UndefinedError(argument);
    trusted = trusted && argument.trusted();
  }
  const bool one = bound.Get(1) == nullptr;
  INFERD_ASSIGN_OR_RETURN(const int64_t start,
                          one ? StatusOr<int64_t>(0) : bound.Int(budget, 0, 0));
  INFERD_ASSIGN_OR_RETURN(const int64_t stop, bound.Int(budget, one ? 0 : 1, 0));
  INFERD_ASSIGN_OR_RETURN(const int64_t step, bound.Int(budget, 2, 1));
  if (step == 0) return budget.Error("range() arg 3 must not be zero");
  // The distances may not fit in 64 bits with a sign.
  const auto u = [](int64_t v) { return static_cast<uint64_t>(v); };
  uint64_t count = 0;
  if (step > 0 && stop > start) count = (u(stop) - u(start) - 1) / u(step) + 1;
  if (step < 0 && stop < start) count = (u(start) - u(stop) - 1) / (0 - u(step)) + 1;
  if (count > kMaxRange)
    return budget.Error("range too big: more than " + std::to_string(kMaxRange) + " items");
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(count)));
  std::vector<Value> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i)
    items.push_back(Value::Int(start + static_cast<int64_t>(i) * step, trusted));
  std::string label = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) label += ", " + std::to_string(step);
  return budget.MakeList(std::move(items), Flavor::kRange, trusted, label + ")");
}

// dict(mapping or pairs, name=value, …).
StatusOr<Value> Dict(Budget& budget, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  bool trusted = true;
  if (arguments.positional.size() > 1) return budget.Error("dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    trusted = source.trusted();
    if (source.IsDict()) {
      entries = source.dict().entries;
    } else {
      INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget, source));
      for (const Value& pair : list.items()) {
        INFERD_ASSIGN_OR_RETURN(const Value parts, ToIterable(budget, pair));
        if (parts.items().size() != 2) return budget.Error("dict() takes pairs");
        entries.emplace_back(parts.items()[0], parts.items()[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.keywords)
    entries.emplace_back(Value::String(name, true), value);
  return budget.MakeDict(std::move(entries), trusted);
}

StatusOr<Value> Namespace(Budget& budget, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const Value dict, Dict(budget, arguments));
  auto object = std::make_shared<NamespaceObject>();
  for (const auto& [key, value] : dict.dict().entries) {
    if (!key.IsString()) return budget.Error("namespace attributes are named by strings");
    if (!key.text().empty() && key.text()[0] == '_')
      return budget.Error("namespace attributes cannot start with '_'");
    if (!value.plain())
      return budget.Error("a namespace cannot hold a " + std::string(value.TypeName()));
    object->attributes.emplace_back(key.text(), value);
  }
  return Value::Namespace(std::move(object));
}

// The time in UTC, as the C library formats it.
StatusOr<Value> StrftimeNow(Budget& budget, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "strftime_now", arguments, {"format"}, 1));
  INFERD_ASSIGN_OR_RETURN(const MarkedString format, bound.String(budget, 0, {}));
  if (format.empty()) return Value::String(format);
  if (format.size() > kMaxTimeFormat || format.text().find('\0') != std::string::npos)
    return budget.Error("strftime_now: the format is too long");
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(format.size())));
  const std::time_t seconds = static_cast<std::time_t>(budget.unix_seconds());
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) return budget.Error("strftime_now: no such time");
  std::string text(kMaxTimeText, '\0');
  // Input may choose the format; the text is untrusted then.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const size_t size = std::strftime(text.data(), text.size(), format.text().c_str(), &parts);
#pragma GCC diagnostic pop
  if (size == 0) return budget.Error("strftime_now: the result is too long");
  text.resize(size);
  return budget.MakeString(MarkedString(std::move(text), format.trusted()));
}

}  // namespace

StatusOr<Value> ApplyBuiltin(Budget& budget, Builtin builtin, const Arguments& arguments) {
  switch (builtin) {
    case Builtin::kRange:
      return Range(budget, arguments);
    case Builtin::kDict:
      return Dict(budget, arguments);
    case Builtin::kNamespace:
      return Namespace(budget, arguments);
    case Builtin::kStrftimeNow:
      return StrftimeNow(budget, arguments);
    case Builtin::kRaiseException:
      break;
  }
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "raise_exception", arguments, {"message"}, 1));
  INFERD_ASSIGN_OR_RETURN(const MarkedString message, Str(budget, *bound.Get(0)));
  return Budget::Raised(message.text());
}

}  // namespace inferd::chat_template
