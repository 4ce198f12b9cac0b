#include "text/template/json_input.h"

#include <limits>

#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

StatusOr<Value> FromText(Budget& budget, const std::string& text) {
  INFERD_RETURN_IF_ERROR(budget.CheckString(text.size()));
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(text.size()));
  if (!IsValidUtf8(text)) return budget.Error("a string of the input is not UTF-8");
  return Value::String(text, /*trusted=*/false);
}

}  // namespace

StatusOr<Value> FromJson(Budget& budget, const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (depth > budget.limits().max_depth) return budget.Error("the input is nested too deeply");
  switch (json.type()) {
    case Type::null:
      return Value::None(/*trusted=*/false);
    case Type::boolean:
      return Value::Bool(json.get<bool>(), /*trusted=*/false);
    case Type::number_integer:
      return Value::Int(json.get<int64_t>(), /*trusted=*/false);
    case Type::number_unsigned: {
      const auto value = json.get<uint64_t>();
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return budget.Error("an integer of the input is too large");
      return Value::Int(static_cast<int64_t>(value), /*trusted=*/false);
    }
    case Type::number_float:
      return Value::Float(json.get<double>(), /*trusted=*/false);
    case Type::string:
      return FromText(budget, json.get_ref<const std::string&>());
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& element : json) {
        INFERD_ASSIGN_OR_RETURN(Value item, FromJson(budget, element, depth + 1));
        items.push_back(std::move(item));
      }
      return budget.MakeList(std::move(items), ListObject::Flavor::kList, /*trusted=*/false);
    }
    case Type::object: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(json.size());
      for (auto it = json.begin(); it != json.end(); ++it) {
        INFERD_ASSIGN_OR_RETURN(Value key, FromText(budget, it.key()));
        INFERD_ASSIGN_OR_RETURN(Value item, FromJson(budget, it.value(), depth + 1));
        entries.emplace_back(std::move(key), std::move(item));
      }
      return budget.MakeRecord(std::move(entries), /*trusted=*/false);
    }
    default:
      return budget.Error("the input holds something that is not JSON");
  }
}

}  // namespace inferd::chat_template
