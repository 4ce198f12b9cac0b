#include <array>

#include "text/template/filters.h"
#include "text/template/format.h"
#include "text/template/printer.h"
#include "text/template/text_ops.h"

namespace inferd::chat_template {
namespace {

template <Case kCase>
StatusOr<Value> CaseFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "case", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  return ChangeCase(budget, text, kCase);
}

StatusOr<Value> Trim(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "trim", arguments, {"chars"}, 0));
  INFERD_ASSIGN_OR_RETURN(const Value text, ToStringValue(budget, input));
  const Value* chars = bound.Get(0);
  if (chars == nullptr || chars->IsNone())
    return Strip(budget, text.string(), nullptr, Side::kBoth);
  INFERD_ASSIGN_OR_RETURN(const MarkedString set, bound.String(budget, 0, {}));
  return Strip(budget, text.string(), &set, Side::kBoth);
}

StatusOr<Value> ReplaceFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "replace", arguments, {"old", "new", "count"}, 2));
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  INFERD_ASSIGN_OR_RETURN(const MarkedString from, Str(budget, *bound.Get(0)));
  INFERD_ASSIGN_OR_RETURN(const MarkedString to, Str(budget, *bound.Get(1)));
  const bool no_count = bound.Get(2) == nullptr || bound.Get(2)->IsNone();
  INFERD_ASSIGN_OR_RETURN(const int64_t count,
                          no_count ? StatusOr<int64_t>(-1) : bound.Int(budget, 2, -1));
  return Replace(budget, text, from, to, count);
}

StatusOr<Value> IndentFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "indent", arguments, {"width", "first", "blank"}, 0));
  if (input.IsUndefined()) return budget.UndefinedError(input);
  if (!input.IsString()) return budget.Error("indent takes a string");
  MarkedString indent;
  if (bound.Get(0) != nullptr && bound.Get(0)->IsString()) {
    indent = bound.Get(0)->string();
  } else {
    INFERD_ASSIGN_OR_RETURN(const int64_t width, bound.Int(budget, 0, 4));
    const size_t size = width < 0 ? 0 : static_cast<size_t>(width);
    INFERD_RETURN_IF_ERROR(budget.CheckString(size));
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(size));
    indent = MarkedString(std::string(size, ' '), true);
  }
  return Indent(budget, input.string(), indent, bound.Truthy(1, false), bound.Truthy(2, false));
}

StatusOr<Value> Center(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, "center", arguments, {"width"}, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  INFERD_ASSIGN_OR_RETURN(const int64_t width, bound.Int(budget, 0, 80));
  return Pad(budget, text, width, ' ', true, Side::kBoth);
}

StatusOr<Value> FormatFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  if (!arguments.keywords.empty() && !arguments.positional.empty())
    return budget.Error("format takes positional or keyword arguments, not both");
  if (arguments.keywords.empty()) {
    INFERD_ASSIGN_OR_RETURN(const Value values, budget.MakeList(arguments.positional,
                                                                ListObject::Flavor::kTuple, true));
    return PercentFormat(budget, text, values);
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : arguments.keywords)
    entries.emplace_back(Value::String(name, true), value);
  INFERD_ASSIGN_OR_RETURN(const Value values, budget.MakeRecord(std::move(entries), true));
  return PercentFormat(budget, text, values);
}

StatusOr<Value> EscapeFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "escape", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  return EscapeHtml(budget, text);
}

StatusOr<Value> StringFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "string", arguments, {}, 0));
  return ToStringValue(budget, input);
}

StatusOr<Value> WordCount(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, "wordcount", arguments, {}, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(text.size() / 4)));
  return Value::Int(CountWords(text.text()));
}

StatusOr<std::optional<MarkedString>> JsonIndent(Budget& budget, const Value* indent) {
  if (indent == nullptr || indent->IsNone()) return std::optional<MarkedString>();
  if (indent->IsString()) return std::optional<MarkedString>(indent->string());
  if (!indent->IsIntegral()) return budget.Error("indent must be an integer or a string");
  const int64_t width = std::max<int64_t>(0, indent->as_int());
  INFERD_RETURN_IF_ERROR(budget.CheckString(static_cast<size_t>(width)));
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(static_cast<size_t>(width)));
  return std::optional<MarkedString>(
      MarkedString(std::string(static_cast<size_t>(width), ' '), true));
}

StatusOr<Value> ToJson(Budget& budget, const Value& input, const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      Bind(budget, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
  JsonStyle style;
  style.ensure_ascii = bound.Truthy(0, false);
  INFERD_ASSIGN_OR_RETURN(style.indent, JsonIndent(budget, bound.Get(1)));
  style.sort_keys = bound.Truthy(3, false);
  if (const Value* separators = bound.Get(2); separators != nullptr && !separators->IsNone()) {
    if (!separators->IsSequence() || separators->items().size() != 2 ||
        !separators->items()[0].IsString() || !separators->items()[1].IsString())
      return budget.Error("separators must be two strings");
    style.item_separator = separators->items()[0].string();
    style.key_separator = separators->items()[1].string();
  }
  TextBuilder out(budget);
  INFERD_RETURN_IF_ERROR(AppendJson(out, input, style, 0));
  return out.Finish();
}

constexpr std::array<FilterEntry, 16> kFilters = {{
    {"upper", CaseFilter<Case::kUpper>},
    {"lower", CaseFilter<Case::kLower>},
    {"capitalize", CaseFilter<Case::kCapitalize>},
    {"title", CaseFilter<Case::kFilterTitle>},
    {"trim", Trim},
    {"replace", ReplaceFilter},
    {"indent", IndentFilter},
    {"center", Center},
    {"format", FormatFilter},
    {"e", EscapeFilter},
    {"escape", EscapeFilter},
    {"forceescape", EscapeFilter},
    {"string", StringFilter},
    {"safe", StringFilter},
    {"wordcount", WordCount},
    {"tojson", ToJson},
}};

}  // namespace

FilterFunction FindTextFilter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace inferd::chat_template
