#include <algorithm>

#include "text/template/escape.h"
#include "text/template/printer.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;

std::string JsonEscape(uint32_t c, bool ensure_ascii) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      break;
  }
  if (c < 0x20) return "\\u" + Hex(c, 4);
  if (!ensure_ascii || c < 0x7F) return {};
  if (c < 0x10000) return "\\u" + Hex(c, 4);
  return "\\u" + Hex(0xD800 + ((c - 0x10000) >> 10), 4) + "\\u" +
         Hex(0xDC00 + ((c - 0x10000) & 0x3FF), 4);
}

void AppendJsonString(TextBuilder& out, const MarkedString& text, bool ensure_ascii) {
  out.Append("\"", text.trusted());
  AppendEscaped(out, text, [=](uint32_t c) { return JsonEscape(c, ensure_ascii); });
  out.Append("\"", text.trusted());
}

std::string JsonFloat(double value) {
  const std::string text = FloatText(value);
  if (text == "nan") return "NaN";
  if (text == "inf") return "Infinity";
  if (text == "-inf") return "-Infinity";
  return text;
}

// The name a key gets in JSON.
StatusOr<MarkedString> KeyName(Budget& budget, const Value& key) {
  switch (key.kind()) {
    case Kind::kString:
      return key.string();
    case Kind::kNone:
      return MarkedString("null", key.trusted());
    case Kind::kBool:
      return MarkedString(key.as_bool() ? "true" : "false", key.trusted());
    case Kind::kInt:
      return MarkedString(std::to_string(key.as_int()), key.trusted());
    case Kind::kFloat:
      return MarkedString(JsonFloat(key.as_float()), key.trusted());
    default:
      return budget.Error("keys must be str, int, float, bool or None, not " +
                          std::string(key.TypeName()));
  }
}

void AppendNewline(TextBuilder& out, const JsonStyle& style, int level) {
  if (!style.indent.has_value()) return;
  out.Append("\n", true);
  for (int i = 0; i < level && out.ok(); ++i) out.Append(*style.indent);
}

void AppendItemSeparator(TextBuilder& out, const JsonStyle& style, int level, bool trusted) {
  if (style.item_separator.has_value()) {
    out.Append(*style.item_separator);
  } else {
    out.Append(style.indent.has_value() ? "," : ", ", trusted);
  }
  AppendNewline(out, style, level);
}

Status AppendJsonList(TextBuilder& out, const Value& value, const JsonStyle& style, int level) {
  const bool trusted = value.trusted();
  if (value.items().empty()) {
    out.Append("[]", trusted);
    return out.status();
  }
  out.Append("[", trusted);
  AppendNewline(out, style, level + 1);
  bool first = true;
  for (const Value& item : value.items()) {
    if (!first) AppendItemSeparator(out, style, level + 1, trusted);
    first = false;
    INFERD_RETURN_IF_ERROR(AppendJson(out, item, style, level + 1));
  }
  AppendNewline(out, style, level);
  out.Append("]", trusted);
  return out.status();
}

StatusOr<std::vector<uint32_t>> KeyOrder(Budget& budget, const DictObject& dict, bool sorted) {
  std::vector<uint32_t> order(dict.entries.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  if (!sorted) return order;
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(order.size())));
  for (const auto& [key, value] : dict.entries) {
    if (!key.IsString()) return budget.Error("only string keys can be sorted");
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(key.text().size()));
  }
  std::sort(order.begin(), order.end(), [&dict](uint32_t a, uint32_t b) {
    return dict.entries[a].first.text() < dict.entries[b].first.text();
  });
  return order;
}

Status AppendJsonDict(TextBuilder& out, const Value& value, const JsonStyle& style, int level) {
  const bool trusted = value.trusted();
  const DictObject& dict = value.dict();
  if (dict.entries.empty()) {
    out.Append("{}", trusted);
    return out.status();
  }
  out.Append("{", trusted);
  AppendNewline(out, style, level + 1);
  INFERD_ASSIGN_OR_RETURN(const std::vector<uint32_t> order,
                          KeyOrder(out.budget(), dict, style.sort_keys));
  bool first = true;
  for (const uint32_t i : order) {
    const auto& [key, item] = dict.entries[i];
    if (!first) AppendItemSeparator(out, style, level + 1, trusted);
    first = false;
    INFERD_ASSIGN_OR_RETURN(const MarkedString name, KeyName(out.budget(), key));
    AppendJsonString(out, name, style.ensure_ascii);
    if (style.key_separator.has_value()) {
      out.Append(*style.key_separator);
    } else {
      out.Append(": ", trusted);
    }
    INFERD_RETURN_IF_ERROR(AppendJson(out, item, style, level + 1));
  }
  AppendNewline(out, style, level);
  out.Append("}", trusted);
  return out.status();
}

}  // namespace

Status AppendJson(TextBuilder& out, const Value& value, const JsonStyle& style, int level) {
  INFERD_RETURN_IF_ERROR(out.budget().Charge(1));
  switch (value.kind()) {
    case Kind::kNone:
      out.Append("null", value.trusted());
      return out.status();
    case Kind::kBool:
      out.Append(value.as_bool() ? "true" : "false", value.trusted());
      return out.status();
    case Kind::kInt:
      out.Append(std::to_string(value.as_int()), value.trusted());
      return out.status();
    case Kind::kFloat:
      out.Append(JsonFloat(value.as_float()), value.trusted());
      return out.status();
    case Kind::kString:
      AppendJsonString(out, value.string(), style.ensure_ascii);
      return out.status();
    case Kind::kList:
      if (value.list().flavor <= ListObject::Flavor::kTuple)
        return AppendJsonList(out, value, style, level);
      break;
    case Kind::kDict:
      return AppendJsonDict(out, value, style, level);
    default:
      break;
  }
  return out.budget().Error("Object of type " + std::string(value.TypeName()) +
                            " is not JSON serializable");
}

}  // namespace inferd::chat_template
