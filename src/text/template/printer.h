// Values as text: str(), repr() and json.dumps() of Python, with marks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/template/budget.h"

namespace inferd::chat_template {

// The shortest text that reads back as `value`, as Python prints floats.
std::string FloatText(double value);

// Values without a reproducible text (macros, iterators, …) are an error.
Status AppendStr(TextBuilder& out, const Value& value);
Status AppendRepr(TextBuilder& out, const Value& value);
// str(value); the string itself when it is one.
StatusOr<MarkedString> Str(Budget& budget, const Value& value);
StatusOr<Value> ToStringValue(Budget& budget, const Value& value);

// As json.dumps(value, ensure_ascii=False, …).
struct JsonStyle {
  std::optional<MarkedString> indent;  // of one level; none: all on one line
  std::optional<MarkedString> item_separator;
  std::optional<MarkedString> key_separator;
  bool sort_keys = false;
  bool ensure_ascii = false;
};
Status AppendJson(TextBuilder& out, const Value& value, const JsonStyle& style, int level);

}  // namespace inferd::chat_template
