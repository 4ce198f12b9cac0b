#include "text/template/format.h"

#include <algorithm>
#include <cmath>

#include "text/template/format_spec.h"
#include "text/template/operators.h"
#include "text/template/printer.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

StatusOr<MarkedString> Repr(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  INFERD_RETURN_IF_ERROR(AppendRepr(out, value));
  return out.Take();
}

// Hands out the arguments of a % format.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& values) : values_(values) {
    tuple_ = values.IsListKind() && values.list().flavor == ListObject::Flavor::kTuple;
  }
  StatusOr<Value> Next(Budget& budget) {
    const size_t size = tuple_ ? values_.items().size() : 1;
    if (used_ >= size) return budget.Error("not enough arguments for format string");
    return tuple_ ? values_.items()[used_++] : (++used_, values_);
  }
  StatusOr<Value> Named(Budget& budget, std::string_view name) {
    if (!values_.IsDict()) return budget.Error("format requires a mapping");
    used_ = 1;
    const Value* found = values_.dict().Find(name);
    if (found == nullptr) return budget.Error("format misses '" + std::string(name) + "'");
    return *found;
  }
  // Arguments that no conversion took are an error, except in a mapping or list.
  bool AllUsed() const {
    if (tuple_) return used_ == values_.items().size();
    return used_ > 0 || values_.IsDict() || values_.IsListKind() || values_.IsUndefined();
  }

 private:
  const Value& values_;
  bool tuple_ = false;
  size_t used_ = 0;
};

// One conversion: `at` is just past its "%".
Status AppendConversion(TextBuilder& out, const MarkedString& format, size_t& at,
                        PercentArguments& arguments) {
  Budget& budget = out.budget();
  const std::string_view view = format.text();
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  FormatSpec spec;
  std::string_view name;
  const bool named = at < view.size() && view[at] == '(';
  if (named) {
    const size_t close = view.find(')', at);
    if (close == std::string_view::npos) return budget.Error("incomplete format key");
    name = view.substr(at + 1, close - at - 1);
    at = close + 1;
  }
  bool left = false;
  for (; at < view.size(); ++at) {
    if (view[at] == '-') {
      left = true;
    } else if (view[at] == '0') {
      spec.fill = '0';
    } else if (view[at] == '+' || (view[at] == ' ' && spec.sign != '+')) {
      spec.sign = view[at];
    } else {
      break;
    }
  }
  spec.width = ReadNumber(view, at);
  if (at < view.size() && view[at] == '.') {
    ++at;
    spec.precision = ReadNumber(view, at);
  }
  if (at >= view.size()) return budget.Error("incomplete format");
  spec.type = view[at++];
  if (spec.type == '%') {
    out.Append("%", format.TrustedAt(at - 1));
    return out.status();
  }
  INFERD_ASSIGN_OR_RETURN(Value value,
                          named ? arguments.Named(budget, name) : arguments.Next(budget));
  if (spec.type == 's' || spec.type == 'r') {
    spec.fill = ' ';
    spec.align = left ? '<' : '>';
    INFERD_ASSIGN_OR_RETURN(const MarkedString text,
                            spec.type == 's' ? Str(budget, value) : Repr(budget, value));
    return AppendPadded(out, text, spec);
  }
  if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
  if (spec.type == 'd' && value.Is(Value::Kind::kFloat)) {
    if (!(std::abs(value.as_float()) < 9.2e18)) return budget.Error("integer out of range");
    value = Value::Int(static_cast<int64_t>(value.as_float()), value.trusted());
  }
  if (std::string_view("doxXeEfFgG").find(spec.type) == std::string_view::npos)
    return budget.Error(std::string("unsupported format character '") + spec.type + "'");
  spec.align = left ? '<' : spec.fill == '0' ? '=' : '>';
  if (left) spec.fill = ' ';
  return AppendNumber(out, value, spec);
}

// "[[fill]align][sign][0][width][,][.precision][type]".
StatusOr<FormatSpec> ParseSpec(Budget& budget, std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const size_t fill_length = text.empty() ? 0 : DecodeAt(text, 0).length;
  if (fill_length > 0 && fill_length < text.size() && is_align(text[fill_length])) {
    spec.fill = DecodeAt(text, 0).value;
    spec.align = text[fill_length];
    at = fill_length + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  const auto has = [&](std::string_view set) {
    return at < text.size() && set.find(text[at]) != std::string_view::npos;
  };
  if (has("+- ")) spec.sign = text[at++];
  if (has("0")) {
    if (spec.align == '\0') {
      spec.align = '=';
      spec.fill = '0';
    }
    ++at;
  }
  spec.width = ReadNumber(text, at);
  if (has(",")) {
    spec.thousands = true;
    ++at;
  }
  if (has(".")) {
    ++at;
    spec.precision = ReadNumber(text, at);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size() ||
      (spec.type != '\0' &&
       std::string_view("sbdoxXeEfFgG%").find(spec.type) == std::string_view::npos))
    return budget.Error("unsupported format specification '" + std::string(text) + "'");
  return spec;
}

Status AppendFormatted(TextBuilder& out, const Value& value, std::string_view spec_text) {
  Budget& budget = out.budget();
  if (spec_text.empty()) return AppendStr(out, value);
  INFERD_ASSIGN_OR_RETURN(FormatSpec spec, ParseSpec(budget, spec_text));
  if (value.IsNumber() && !(value.Is(Value::Kind::kBool) && spec.type == '\0')) {
    if (spec.type == 's') return budget.Error("format code 's' is not for numbers");
    if (spec.type == '\0') {
      if (value.IsIntegral()) {
        spec.type = 'd';
      } else if (spec.precision >= 0) {
        spec.type = 'g';
      } else {
        spec.align = spec.align == '\0' ? '>' : spec.align;
        return AppendPadded(out, MarkedString(FloatText(value.as_float()), value.trusted()), spec);
      }
    }
    if (spec.type == 'd' && !value.IsIntegral())
      return budget.Error("format code 'd' is not for floats");
    return AppendNumber(out, value, spec);
  }
  if (!value.IsString() && !value.Is(Value::Kind::kBool))
    return budget.Error("unsupported format string passed to " + std::string(value.TypeName()));
  if (spec.type != '\0' && spec.type != 's')
    return budget.Error(std::string("format code '") + spec.type + "' is not for strings");
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, value));
  if (spec.align == '=') return budget.Error("'=' alignment is not for strings");
  return AppendPadded(out, text, spec);
}

// The argument that "name.attribute[key]" means.
StatusOr<Value> ResolveField(Budget& budget, std::string_view field, const Arguments& arguments,
                             size_t& next) {
  const size_t name_end = std::min(field.find_first_of(".["), field.size());
  const std::string_view name = field.substr(0, name_end);
  const bool number =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
  Value value;
  if (number) {
    size_t at = 0;
    const size_t index = name.empty() ? next++ : static_cast<size_t>(ReadNumber(name, at));
    if (index >= arguments.positional.size()) return budget.Error("replacement index out of range");
    value = arguments.positional[index];
  } else {
    const auto it = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                 [name](const auto& keyword) { return keyword.first == name; });
    if (it == arguments.keywords.end())
      return budget.Error("format misses '" + std::string(name) + "'");
    value = it->second;
  }
  for (size_t at = name_end; at < field.size();) {
    const bool attribute = field[at] == '.';
    const size_t end =
        attribute ? std::min(field.find_first_of(".[", at + 1), field.size()) : field.find(']', at);
    if (end == std::string_view::npos || end == at + 1 || (!attribute && field[at] != '['))
      return budget.Error("bad field in format string");
    const Value key = Value::String(std::string(field.substr(at + 1, end - at - 1)), true);
    size_t digits = 0;
    const int64_t index = ReadNumber(key.text(), digits);
    if (attribute) {
      INFERD_ASSIGN_OR_RETURN(value, GetAttribute(budget, value, key));
    } else {
      INFERD_ASSIGN_OR_RETURN(
          value, GetItem(budget, value, digits == key.text().size() ? Value::Int(index) : key));
    }
    at = attribute ? end : end + 1;
  }
  return value;
}

}  // namespace

StatusOr<Value> PercentFormat(Budget& budget, const MarkedString& format, const Value& values) {
  const std::string_view view = format.text();
  TextBuilder out(budget);
  PercentArguments arguments(values);
  for (size_t at = 0; at < view.size() && out.ok();) {
    const size_t percent = std::min(view.find('%', at), view.size());
    out.AppendRange(format, at, percent);
    at = percent + 1;
    if (percent < view.size()) INFERD_RETURN_IF_ERROR(AppendConversion(out, format, at, arguments));
  }
  if (!arguments.AllUsed())
    return budget.Error("not all arguments converted during string formatting");
  return out.Finish();
}

StatusOr<Value> BraceFormat(Budget& budget, const MarkedString& format,
                            const Arguments& arguments) {
  const std::string_view view = format.text();
  TextBuilder out(budget);
  size_t next = 0;
  for (size_t at = 0; at < view.size() && out.ok();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.AppendRange(format, at, brace);
    if (brace == view.size()) break;
    INFERD_RETURN_IF_ERROR(budget.Charge(1));
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out.AppendRange(format, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t close = view.find_first_of("{}", brace + 1);
    if (view[brace] == '}' || close == std::string_view::npos || view[close] == '{')
      return budget.Error("unmatched or nested brace in format string");
    std::string_view field = view.substr(brace + 1, close - brace - 1);
    const size_t colon = std::min(field.find(':'), field.size());
    const std::string_view spec = field.substr(std::min(colon + 1, field.size()));
    field = field.substr(0, colon);
    const size_t bang = field.find('!');
    const std::string_view conversion =
        bang == std::string_view::npos ? std::string_view() : field.substr(bang + 1);
    INFERD_ASSIGN_OR_RETURN(Value value,
                            ResolveField(budget, field.substr(0, bang), arguments, next));
    if (conversion == "r" || conversion == "s") {
      INFERD_ASSIGN_OR_RETURN(MarkedString text,
                              conversion == "r" ? Repr(budget, value) : Str(budget, value));
      value = Value::String(std::move(text));
    } else if (bang != std::string_view::npos) {
      return budget.Error("unknown conversion in format string");
    }
    INFERD_RETURN_IF_ERROR(AppendFormatted(out, value, spec));
    at = close + 1;
  }
  return out.Finish();
}

}  // namespace inferd::chat_template
