// Typed access to parsed JSON whose errors name the place and the rule.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "nlohmann/json.hpp"

namespace inferd::text {

// A value and the path that leads to it. Refers to the document; a copyable view.
class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  // FAILED_PRECONDITION "path: rule".
  Status Error(std::string_view rule) const;

  // Whether this is an object with a member `key` that is not null.
  bool Has(std::string_view key) const;
  // All of these: FAILED_PRECONDITION when the member is absent or of another type.
  StatusOr<JsonView> Member(std::string_view key) const;
  StatusOr<JsonView> Object(std::string_view key) const;
  StatusOr<std::vector<JsonView>> Array(std::string_view key) const;
  StatusOr<std::string> String(std::string_view key) const;
  StatusOr<bool> Bool(std::string_view key) const;
  StatusOr<int64_t> Integer(std::string_view key, int64_t min, int64_t max) const;
  // The fallback stands for an absent or null member.
  StatusOr<std::string> String(std::string_view key, std::string_view fallback) const;
  StatusOr<bool> Bool(std::string_view key, bool fallback) const;
  // Refuses members that are not in `known`.
  Status OnlyMembers(std::initializer_list<std::string_view> known) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
};

// Parses `text`. Refuses nesting over `max_depth` before anything is built.
StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name, int max_depth);

// The leaves of nested {"type": "Sequence", <member>: [...]} objects, in order.
StatusOr<std::vector<JsonView>> FlattenSequence(const JsonView& root, std::string_view member);

}  // namespace inferd::text
