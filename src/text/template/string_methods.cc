#include <algorithm>
#include <array>

#include "text/template/format.h"
#include "text/template/methods.h"
#include "text/template/operators.h"
#include "text/template/text_ops.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Method = StatusOr<Value> (*)(Budget&, const MarkedString&, std::string_view,
                                   const Arguments&);

StatusOr<Value> StripMethod(Budget& budget, const MarkedString& text, std::string_view name,
                            const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"chars"}, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString chars,
                          bound.Get(0) != nullptr && bound.Get(0)->IsNone()
                              ? MarkedString()
                              : bound.String(budget, 0, MarkedString()));
  const bool has_chars = bound.Get(0) != nullptr && !bound.Get(0)->IsNone();
  const Side side = name == "lstrip" ? Side::kLeft : name == "rstrip" ? Side::kRight : Side::kBoth;
  return Strip(budget, text, has_chars ? &chars : nullptr, side);
}

StatusOr<Value> CaseMethod(Budget& budget, const MarkedString& text, std::string_view name,
                           const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {}, 0));
  if (name == "upper") return ChangeCase(budget, text, Case::kUpper);
  if (name == "title") return ChangeCase(budget, text, Case::kTitle);
  if (name == "capitalize") return ChangeCase(budget, text, Case::kCapitalize);
  if (name == "swapcase") return ChangeCase(budget, text, Case::kSwap);
  return ChangeCase(budget, text, Case::kLower);
}

StatusOr<Value> SplitMethod(Budget& budget, const MarkedString& text, std::string_view name,
                            const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"sep", "maxsplit"}, 0));
  INFERD_ASSIGN_OR_RETURN(const int64_t limit, bound.Int(budget, 1, -1));
  if (bound.Get(0) == nullptr || bound.Get(0)->IsNone())
    return Split(budget, text, nullptr, limit, name == "rsplit");
  INFERD_ASSIGN_OR_RETURN(const MarkedString separator, bound.String(budget, 0, {}));
  return Split(budget, text, &separator, limit, name == "rsplit");
}

StatusOr<Value> SplitLinesMethod(Budget& budget, const MarkedString& text, std::string_view name,
                                 const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"keepends"}, 0));
  return SplitLines(budget, text, bound.Truthy(0, false));
}

StatusOr<Value> PartitionMethod(Budget& budget, const MarkedString& text, std::string_view name,
                                const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"sep"}, 1));
  INFERD_ASSIGN_OR_RETURN(const MarkedString separator, bound.String(budget, 0, {}));
  const bool right = name == "rpartition";
  INFERD_ASSIGN_OR_RETURN(const Value parts, Split(budget, text, &separator, 1, right));
  Value empty = Value::String("", text.trusted());
  std::vector<Value> items = parts.items();
  if (items.size() == 1) {
    items.insert(right ? items.begin() : items.end(), 2, empty);
  } else {
    // The separator as it stands in the text keeps the marks of the text.
    const size_t at = items[0].text().size();
    items.insert(items.begin() + 1, Value::String(text.Substring(at, at + separator.size())));
  }
  return budget.MakeList(std::move(items), ListObject::Flavor::kTuple, text.trusted());
}

// startswith, endswith: one string or a tuple of them.
StatusOr<Value> AffixMethod(Budget& budget, const MarkedString& text, std::string_view name,
                            const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"affix"}, 1));
  const Value& affix = *bound.Get(0);
  const bool tuple = affix.IsListKind() && affix.list().flavor == ListObject::Flavor::kTuple;
  const std::vector<Value> candidates = tuple ? affix.items() : std::vector<Value>{affix};
  for (const Value& candidate : candidates) {
    if (candidate.IsUndefined()) return budget.UndefinedError(candidate);
    if (!candidate.IsString())
      return budget.Error(std::string(name) + "() takes a string or a tuple of strings");
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(candidate.text().size()));
    const std::string_view view = text.text();
    const size_t size = candidate.text().size();
    if (size > view.size()) continue;
    if ((name == "startswith" ? view.substr(0, size) : view.substr(view.size() - size)) ==
        candidate.text())
      return Value::Bool(true);
  }
  return Value::Bool(false);
}

StatusOr<Value> RemoveAffixMethod(Budget& budget, const MarkedString& text, std::string_view name,
                                  const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"affix"}, 1));
  INFERD_ASSIGN_OR_RETURN(const MarkedString affix, bound.String(budget, 0, {}));
  const std::string_view view = text.text();
  const size_t size = affix.size();
  const bool prefix = name == "removeprefix";
  const bool found =
      size <= view.size() &&
      (prefix ? view.substr(0, size) : view.substr(view.size() - size)) == affix.text();
  if (!found) return budget.MakeString(text);
  return budget.MakeString(prefix ? text.Substring(size, text.size())
                                  : text.Substring(0, text.size() - size));
}

StatusOr<Value> ReplaceMethod(Budget& budget, const MarkedString& text, std::string_view name,
                              const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"old", "new", "count"}, 2));
  INFERD_ASSIGN_OR_RETURN(const MarkedString from, bound.String(budget, 0, {}));
  INFERD_ASSIGN_OR_RETURN(const MarkedString to, bound.String(budget, 1, {}));
  INFERD_ASSIGN_OR_RETURN(const int64_t count, bound.Int(budget, 2, -1));
  return Replace(budget, text, from, to, count);
}

// find, rfind, index, rindex, count, within the slice [start, end).
StatusOr<Value> FindMethod(Budget& budget, const MarkedString& text, std::string_view name,
                           const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"sub", "start", "end"}, 1));
  INFERD_ASSIGN_OR_RETURN(const MarkedString needle, bound.String(budget, 0, {}));
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(view.size()));
  const auto length = static_cast<int64_t>(CountCodePoints(view));
  INFERD_ASSIGN_OR_RETURN(int64_t start, bound.Int(budget, 1, 0));
  INFERD_ASSIGN_OR_RETURN(int64_t end, bound.Int(budget, 2, length));
  if (start < 0) start = std::max<int64_t>(0, start + length);
  if (end < 0) end = std::max<int64_t>(0, end + length);
  end = std::min(end, length);
  size_t found = std::string_view::npos;
  int64_t count = 0;
  if (start <= end) {
    const size_t base = ByteOffset(view, static_cast<size_t>(start));
    const std::string_view area =
        view.substr(base, ByteOffset(view, static_cast<size_t>(end)) - base);
    const bool last = name[0] == 'r';
    for (size_t at = FindText(area, needle.text(), 0); at != std::string_view::npos;) {
      INFERD_RETURN_IF_ERROR(budget.Charge(1));
      found = base + at;
      ++count;
      if (!last && name != "count") break;
      if (last) {
        // Occurrences may overlap, so step by one character.
        if (at >= area.size()) break;
        at = FindText(area, needle.text(), at + DecodeAt(area, at).length);
      } else {
        const size_t step =
            needle.empty() ? (at < area.size() ? DecodeAt(area, at).length : 1) : needle.size();
        at = FindText(area, needle.text(), at + step);
      }
    }
  }
  if (name == "count") return Value::Int(count);
  if (found != std::string_view::npos)
    return Value::Int(static_cast<int64_t>(CountCodePoints(view.substr(0, found))));
  if (name == "index" || name == "rindex") return budget.Error("substring not found");
  return Value::Int(-1);
}

StatusOr<Value> JoinMethod(Budget& budget, const MarkedString& text, std::string_view name,
                           const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"iterable"}, 1));
  INFERD_ASSIGN_OR_RETURN(const Value items, ToIterable(budget, *bound.Get(0)));
  return Join(budget, text, items.items(), /*strict=*/true);
}

StatusOr<Value> FormatMethod(Budget& budget, const MarkedString& text, std::string_view,
                             const Arguments& arguments) {
  return BraceFormat(budget, text, arguments);
}

StatusOr<Value> PadMethod(Budget& budget, const MarkedString& text, std::string_view name,
                          const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                          Bind(budget, name, arguments, {"width", "fillchar"}, 1));
  INFERD_ASSIGN_OR_RETURN(const int64_t width, bound.Int(budget, 0, 0));
  INFERD_ASSIGN_OR_RETURN(const MarkedString fill,
                          bound.String(budget, 1, MarkedString(" ", text.trusted())));
  if (fill.empty() || DecodeAt(fill.text(), 0).length != fill.size())
    return budget.Error("the fill character must be exactly one character long");
  const Side side = name == "ljust" ? Side::kLeft : name == "rjust" ? Side::kRight : Side::kBoth;
  return Pad(budget, text, width, DecodeAt(fill.text(), 0).value, fill.trusted(), side);
}

StatusOr<Value> ZeroFillMethod(Budget& budget, const MarkedString& text, std::string_view name,
                               const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {"width"}, 1));
  INFERD_ASSIGN_OR_RETURN(const int64_t width, bound.Int(budget, 0, 0));
  if (width <= 0) return budget.MakeString(text);
  const bool sign = !text.empty() && (text.text()[0] == '-' || text.text()[0] == '+');
  const size_t skip = sign ? 1 : 0;
  INFERD_ASSIGN_OR_RETURN(const Value padded, Pad(budget, text.Substring(skip, text.size()),
                                                  width - static_cast<int64_t>(skip), '0',
                                                  text.trusted(), Side::kRight));
  TextBuilder out(budget);
  out.AppendRange(text, 0, skip);
  out.Append(padded.string());
  return out.Finish();
}

StatusOr<Value> ClassMethod(Budget& budget, const MarkedString& text, std::string_view name,
                            const Arguments& arguments) {
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {}, 0));
  INFERD_RETURN_IF_ERROR(budget.Charge(1 + static_cast<int64_t>(text.size() / 4)));
  const std::string_view view = text.text();
  const bool cased = name == "isupper" || name == "islower";
  bool all = true;
  bool any_cased = false;
  for (size_t i = 0; i < view.size() && all;) {
    const CodePoint c = DecodeAt(view, i);
    const bool upper = IsUpper(c.value);
    const bool lower = IsLower(c.value);
    any_cased = any_cased || upper || lower;
    if (name == "isdigit" || name == "isdecimal" || name == "isnumeric") all = IsDigit(c.value);
    if (name == "isalpha") all = IsAlpha(c.value);
    if (name == "isalnum") all = IsAlnum(c.value);
    if (name == "isspace") all = IsSpace(c.value);
    if (name == "isascii") all = c.value < 0x80;
    if (name == "isupper") all = !lower;
    if (name == "islower") all = !upper;
    i += c.length;
  }
  if (name == "isascii") return Value::Bool(all);
  return Value::Bool(all && !view.empty() && (!cased || any_cased));
}

struct Entry {
  std::string_view name;
  Method method;
};

constexpr std::array<Entry, 39> kMethods = {{
    {"strip", StripMethod},
    {"lstrip", StripMethod},
    {"rstrip", StripMethod},
    {"upper", CaseMethod},
    {"lower", CaseMethod},
    {"title", CaseMethod},
    {"capitalize", CaseMethod},
    {"swapcase", CaseMethod},
    {"casefold", CaseMethod},
    {"split", SplitMethod},
    {"rsplit", SplitMethod},
    {"splitlines", SplitLinesMethod},
    {"partition", PartitionMethod},
    {"rpartition", PartitionMethod},
    {"startswith", AffixMethod},
    {"endswith", AffixMethod},
    {"removeprefix", RemoveAffixMethod},
    {"removesuffix", RemoveAffixMethod},
    {"replace", ReplaceMethod},
    {"find", FindMethod},
    {"rfind", FindMethod},
    {"index", FindMethod},
    {"rindex", FindMethod},
    {"count", FindMethod},
    {"join", JoinMethod},
    {"format", FormatMethod},
    {"center", PadMethod},
    {"ljust", PadMethod},
    {"rjust", PadMethod},
    {"zfill", ZeroFillMethod},
    {"isdigit", ClassMethod},
    {"isdecimal", ClassMethod},
    {"isnumeric", ClassMethod},
    {"isalpha", ClassMethod},
    {"isalnum", ClassMethod},
    {"isspace", ClassMethod},
    {"isascii", ClassMethod},
    {"isupper", ClassMethod},
    {"islower", ClassMethod},
}};

}  // namespace

bool IsStringMethod(std::string_view name) {
  return std::any_of(kMethods.begin(), kMethods.end(), [name](const Entry& entry) {
    return entry.method != nullptr && entry.name == name;
  });
}

StatusOr<Value> CallStringMethod(Budget& budget, const MarkedString& text, std::string_view name,
                                 const Arguments& arguments) {
  for (const Entry& entry : kMethods) {
    if (entry.method != nullptr && entry.name == name)
      return entry.method(budget, text, name, arguments);
  }
  return budget.Error("'str' object has no attribute '" + std::string(name) + "'");
}

}  // namespace inferd::chat_template
