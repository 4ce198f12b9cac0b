#include "text/json_view.h"

#include <algorithm>

#include "inferd/text/json_depth.h"

namespace inferd::text {

Status JsonView::Error(std::string_view rule) const {
  return FailedPreconditionError(path_ + ": " + std::string(rule));
}

bool JsonView::Has(std::string_view key) const {
  if (!value_->is_object()) return false;
  const auto it = value_->find(key);
  return it != value_->end() && !it->is_null();
}

StatusOr<JsonView> JsonView::Member(std::string_view key) const {
  if (!value_->is_object()) return Error("must be an object");
  const auto it = value_->find(key);
  std::string path = path_ + "." + std::string(key);
  if (it == value_->end()) return FailedPreconditionError(path + ": missing");
  return JsonView(*it, std::move(path));
}

StatusOr<JsonView> JsonView::Object(std::string_view key) const {
  INFERD_ASSIGN_OR_RETURN(JsonView member, Member(key));
  if (!member.json().is_object()) return member.Error("must be an object");
  return member;
}

StatusOr<std::vector<JsonView>> JsonView::Array(std::string_view key) const {
  INFERD_ASSIGN_OR_RETURN(const JsonView member, Member(key));
  if (!member.json().is_array()) return member.Error("must be an array");
  std::vector<JsonView> views;
  views.reserve(member.json().size());
  for (const nlohmann::json& item : member.json()) {
    views.emplace_back(item, member.path() + "[" + std::to_string(views.size()) + "]");
  }
  return views;
}

StatusOr<std::string> JsonView::String(std::string_view key) const {
  INFERD_ASSIGN_OR_RETURN(const JsonView member, Member(key));
  if (!member.json().is_string()) return member.Error("must be a string");
  return member.json().get_ref<const std::string&>();
}

StatusOr<bool> JsonView::Bool(std::string_view key) const {
  INFERD_ASSIGN_OR_RETURN(const JsonView member, Member(key));
  if (!member.json().is_boolean()) return member.Error("must be true or false");
  return member.json().get<bool>();
}

StatusOr<int64_t> JsonView::Integer(std::string_view key, int64_t min, int64_t max) const {
  INFERD_ASSIGN_OR_RETURN(const JsonView member, Member(key));
  const nlohmann::json& json = member.json();
  const bool in_range =
      json.is_number_unsigned()
          ? max >= 0 && json.get<uint64_t>() <= static_cast<uint64_t>(max) &&
                (min <= 0 || json.get<uint64_t>() >= static_cast<uint64_t>(min))
          : json.is_number_integer() && json.get<int64_t>() >= min && json.get<int64_t>() <= max;
  if (!in_range) {
    return member.Error("must be an integer from " + std::to_string(min) + " to " +
                        std::to_string(max));
  }
  return json.get<int64_t>();
}

StatusOr<std::string> JsonView::String(std::string_view key, std::string_view fallback) const {
  if (value_->is_object() && !Has(key)) return std::string(fallback);
  return String(key);
}

StatusOr<bool> JsonView::Bool(std::string_view key, bool fallback) const {
  if (value_->is_object() && !Has(key)) return bool{fallback};
  return Bool(key);
}

Status JsonView::OnlyMembers(std::initializer_list<std::string_view> known) const {
  if (!value_->is_object()) return Error("must be an object");
  for (const auto& item : value_->items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      return Error("unknown member \"" + item.key() + "\"");
    }
  }
  return OkStatus();
}

StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name, int max_depth) {
  if (!JsonDepthWithin(text, max_depth)) {
    return FailedPreconditionError(std::string(name) + ": nested deeper than " +
                                   std::to_string(max_depth));
  }
  nlohmann::json json =
      nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return FailedPreconditionError(std::string(name) + ": not valid JSON");
  }
  return json;
}

StatusOr<std::vector<JsonView>> FlattenSequence(const JsonView& root, std::string_view member) {
  std::vector<JsonView> leaves;
  std::vector<JsonView> pending = {root};
  while (!pending.empty()) {
    const JsonView view = std::move(pending.back());
    pending.pop_back();
    INFERD_ASSIGN_OR_RETURN(const std::string type, view.String("type"));
    if (type != "Sequence") {
      leaves.push_back(view);
      continue;
    }
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", member}));
    INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> items, view.Array(member));
    pending.insert(pending.end(), items.rbegin(), items.rend());
  }
  return leaves;
}

}  // namespace inferd::text
