#include "text/template/budget.h"

#include <algorithm>
#include <map>

#include "text/template/printer.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

constexpr std::string_view kReason = "CHAT_TEMPLATE_ERROR";
constexpr size_t kMaxMessageBytes = 2000;
constexpr size_t kIndexedDictSize = 16;

// Error messages quote template text and input; both may be long.
std::string Shorten(std::string_view message) {
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return std::string(message.substr(0, end)) + "...";
}

}  // namespace

Status CompileError(int line, std::string_view message) {
  return InvalidField("chat_template", "line " + std::to_string(line) + ": " + Shorten(message),
                      kReason);
}

Status Budget::Charge(int64_t operations) {
  if (operations > operations_left_) {
    operations_left_ = 0;
    return Error("the template takes too many operations");
  }
  operations_left_ -= operations;
  return OkStatus();
}

Status Budget::CheckString(size_t bytes) const {
  if (bytes > static_cast<size_t>(limits_.max_string_bytes)) return Error("a string is too long");
  return OkStatus();
}

Status Budget::Error(std::string_view message) const {
  if (line_ == 0) return Raised(message);
  return InvalidField("messages", "line " + std::to_string(line_) + ": " + Shorten(message),
                      kReason);
}

Status Budget::Raised(std::string_view message) {
  return InvalidField("messages", Shorten(message), kReason);
}

StatusOr<Value> Budget::MakeString(MarkedString text) {
  INFERD_RETURN_IF_ERROR(CheckString(text.size()));
  INFERD_RETURN_IF_ERROR(ChargeBytes(text.size() + text.run_bytes()));
  return Value::String(std::move(text));
}

StatusOr<Value> Budget::MakeList(std::vector<Value> items, ListObject::Flavor flavor, bool trusted,
                                 std::string label) {
  INFERD_RETURN_IF_ERROR(Charge(1 + static_cast<int64_t>(items.size() / 2)));
  auto list = std::make_shared<ListObject>();
  list->flavor = flavor;
  list->label = std::move(label);
  for (const Value& item : items) {
    list->depth = std::max(list->depth, item.depth() + 1);
    list->plain = list->plain && item.plain();
  }
  if (list->depth > limits_.max_depth) return Error("values are nested too deeply");
  list->items = std::move(items);
  return Value::List(std::move(list), trusted);
}

StatusOr<Value> Budget::MakeRecord(std::vector<std::pair<Value, Value>> entries, bool trusted) {
  INFERD_RETURN_IF_ERROR(Charge(1 + static_cast<int64_t>(entries.size() / 2)));
  auto dict = std::make_shared<DictObject>();
  bool all_strings = true;
  for (const auto& [key, value] : entries) {
    dict->depth = std::max(dict->depth, value.depth() + 1);
    dict->plain = dict->plain && value.plain();
    all_strings = all_strings && key.IsString();
  }
  if (dict->depth > limits_.max_depth) return Error("values are nested too deeply");
  dict->entries = std::move(entries);
  if (all_strings && dict->entries.size() > kIndexedDictSize) {
    dict->sorted.resize(dict->entries.size());
    for (uint32_t i = 0; i < dict->sorted.size(); ++i) dict->sorted[i] = i;
    std::sort(dict->sorted.begin(), dict->sorted.end(), [&dict](uint32_t a, uint32_t b) {
      return dict->entries[a].first.text() < dict->entries[b].first.text();
    });
  }
  return Value::Dict(std::move(dict), trusted);
}

StatusOr<Value> Budget::MakeDict(std::vector<std::pair<Value, Value>> entries, bool trusted) {
  std::vector<std::pair<Value, Value>> unique;
  std::map<std::string, size_t> position;
  // Allocations and a search for each.
  INFERD_RETURN_IF_ERROR(Charge(static_cast<int64_t>(entries.size()) * 4));
  unique.reserve(entries.size());
  for (auto& entry : entries) {
    INFERD_ASSIGN_OR_RETURN(std::string key, KeyText(*this, entry.first));
    const auto [it, inserted] = position.emplace(std::move(key), unique.size());
    if (inserted) {
      unique.push_back(std::move(entry));
    } else {
      unique[it->second].second = std::move(entry.second);
    }
  }
  return MakeRecord(std::move(unique), trusted);
}

void TextBuilder::AppendCodePoint(uint32_t code_point, bool trusted) {
  std::string bytes;
  AppendUtf8(bytes, code_point);
  Append(bytes, trusted);
}

StatusOr<MarkedString> TextBuilder::Take() {
  INFERD_RETURN_IF_ERROR(status_);
  INFERD_RETURN_IF_ERROR(budget_.ChargeBytes(text_.size() + text_.run_bytes()));
  return std::move(text_);
}

StatusOr<Value> TextBuilder::Finish() {
  INFERD_ASSIGN_OR_RETURN(MarkedString text, Take());
  return Value::String(std::move(text));
}

StatusOr<std::string> KeyText(Budget& budget, const Value& key) {
  switch (key.kind()) {
    case Value::Kind::kNone:
      return std::string("N");
    case Value::Kind::kBool:
    case Value::Kind::kInt:
      return "i" + std::to_string(key.as_int());
    case Value::Kind::kFloat: {
      const double value = key.as_float();
      if (value >= -9e18 && value <= 9e18 &&
          value == static_cast<double>(static_cast<int64_t>(value)))
        return "i" + std::to_string(static_cast<int64_t>(value));
      return "f" + FloatText(value);
    }
    case Value::Kind::kUndefined:
      return std::string("U");
    case Value::Kind::kString:
      INFERD_RETURN_IF_ERROR(budget.ChargeBytes(key.text().size()));
      return "s" + key.string().text();
    case Value::Kind::kList:
      if (key.list().flavor == ListObject::Flavor::kTuple) {
        std::string out = "t";
        for (const Value& item : key.items()) {
          INFERD_ASSIGN_OR_RETURN(std::string part, KeyText(budget, item));
          INFERD_RETURN_IF_ERROR(budget.CheckString(out.size() + part.size()));
          out += std::to_string(part.size()) + ":" + part;
        }
        INFERD_RETURN_IF_ERROR(budget.ChargeBytes(out.size()));
        return out;
      }
      break;
    default:
      break;
  }
  return budget.Error("unhashable type: '" + std::string(key.TypeName()) + "'");
}

}  // namespace inferd::chat_template
