#include "model/json_fields.h"

#include <cmath>
#include <sstream>

namespace inferd::model {
namespace {

std::string Range(double low, double high) {
  std::ostringstream text;
  text.precision(10);
  text << '[' << low << ", " << high << ']';
  return text.str();
}

}  // namespace

JsonFields::JsonFields(const nlohmann::json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) {
    status_ = FailedPreconditionError(where_ + ": must be a JSON object");
  }
}

void JsonFields::Fail(StatusCode code, std::string_view key, std::string_view text) {
  if (!status_.ok()) return;
  status_ = Status(code, where_ + ": " + std::string(key) + ": " + std::string(text));
}

void JsonFields::Malformed(std::string_view key, std::string_view rule) {
  Fail(StatusCode::kFailedPrecondition, key, rule);
}

void JsonFields::Unsupported(std::string_view key, std::string_view what) {
  Fail(StatusCode::kUnimplemented, key, what);
}

const nlohmann::json* JsonFields::Find(std::string_view key) const {
  if (!object_.is_object()) return nullptr;
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

int32_t JsonFields::Int(std::string_view key, int32_t low, int32_t high) {
  if (!Has(key)) Malformed(key, "missing");
  return IntOr(key, low, low, high);
}

int32_t JsonFields::IntOr(std::string_view key, int32_t absent, int32_t low, int32_t high) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  const bool in_range =
      value->is_number_unsigned()
          ? value->get<uint64_t>() <= static_cast<uint64_t>(high < 0 ? 0 : high) &&
                static_cast<int64_t>(value->get<uint64_t>()) >= low
          : value->is_number_integer() && value->get<int64_t>() >= low &&
                value->get<int64_t>() <= high;
  if (!in_range) {
    Malformed(key, "must be a whole number in " + Range(low, high));
    return absent;
  }
  return value->get<int32_t>();
}

double JsonFields::Number(std::string_view key, double low, double high) {
  if (!Has(key)) Malformed(key, "missing");
  return NumberOr(key, low, low, high);
}

double JsonFields::NumberOr(std::string_view key, double absent, double low, double high) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    Malformed(key, "must be a number in " + Range(low, high));
    return absent;
  }
  return number;
}

bool JsonFields::BoolOr(std::string_view key, bool absent) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) {
    Malformed(key, "must be true or false");
    return absent;
  }
  return value->get<bool>();
}

std::string JsonFields::StringOr(std::string_view key, std::string_view absent) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) {
    Malformed(key, "must be a string");
    return std::string(absent);
  }
  return value->get<std::string>();
}

std::vector<TokenId> JsonFields::TokenIds(std::string_view key, int32_t vocab_size) {
  constexpr size_t kMostIds = 64;
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  std::vector<TokenId> ids;
  for (const nlohmann::json& item : list) {
    const bool in_range =
        item.is_number_integer() && item.get<int64_t>() >= 0 && item.get<int64_t>() < vocab_size;
    if (!in_range || ids.size() == kMostIds) {
      Malformed(key, "must be token ids below the vocabulary size");
      return {};
    }
    ids.push_back(item.get<TokenId>());
  }
  return ids;
}

}  // namespace inferd::model
