// From written values to fields and back.
#include <algorithm>
#include <cctype>
#include <string>

#include "config/edit_distance.h"
#include "config/value_text.h"
#include "inferd/config/config_key.h"

namespace inferd {
namespace {

using config::FormatDurationMs;
using config::FormatNumber;
using config::FormatSizeBytes;

// The bound of a range in the key's own unit.
std::string BoundText(const ConfigKey& key, double bound) {
  switch (key.type) {
    case ConfigType::kDuration:
      return FormatDurationMs(static_cast<int64_t>(bound));
    case ConfigType::kSize:
      return FormatSizeBytes(static_cast<int64_t>(bound));
    case ConfigType::kInteger:
      return std::to_string(static_cast<int64_t>(bound));
    default:
      return FormatNumber(bound);
  }
}

Status CheckRange(const ConfigKey& key, double value) {
  if (value >= key.min && value <= key.max) return OkStatus();
  return InvalidArgumentError("must be between " + BoundText(key, key.min) + " and " +
                              BoundText(key, key.max));
}

Status CheckLength(const ConfigKey& key, std::string_view text) {
  if (static_cast<double>(text.size()) < key.min) return InvalidArgumentError("must not be empty");
  if (static_cast<double>(text.size()) > key.max) {
    return InvalidArgumentError("must have at most " + BoundText(key, key.max) + " bytes");
  }
  const bool control = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7f;
  });
  return control ? InvalidArgumentError("must not contain control characters") : OkStatus();
}

bool IsChoice(std::string_view choices, std::string_view text) {
  size_t begin = 0;
  while (begin <= choices.size()) {
    const size_t bar = std::min(choices.find('|', begin), choices.size());
    if (choices.substr(begin, bar - begin) == text) return true;
    begin = bar + 1;
  }
  return false;
}

StatusOr<int64_t> ParseWhole(const ConfigKey& key, std::string_view text) {
  StatusOr<int64_t> value = key.type == ConfigType::kDuration ? config::ParseDurationMs(text)
                            : key.type == ConfigType::kSize   ? config::ParseSizeBytes(text)
                                                              : config::ParseInteger(text);
  if (!value.ok()) return value;
  INFERD_RETURN_IF_ERROR(CheckRange(key, static_cast<double>(*value)));
  return value;
}

// Parses `text` and stores it in the field whose kind the variant says.
struct Setter {
  const ConfigKey& key;
  std::string_view text;
  ServerConfig& config;

  Status operator()(std::string& (*field)(ServerConfig&)) const {
    if (key.type == ConfigType::kChoice) {
      if (!IsChoice(key.choices, text)) {
        return InvalidArgumentError("must be one of " + std::string(key.choices));
      }
    } else {
      INFERD_RETURN_IF_ERROR(CheckLength(key, text));
    }
    field(config) = std::string(text);
    return OkStatus();
  }
  Status operator()(std::vector<std::string>& (*field)(ServerConfig&)) const {
    std::vector<std::string> values;
    for (std::string_view piece : config::SplitList(text)) {
      if (piece.empty()) return InvalidArgumentError("has an empty entry");
      INFERD_RETURN_IF_ERROR(CheckLength(key, piece));
      values.emplace_back(piece);
    }
    if (values.size() > kMaxListEntries) return InvalidArgumentError("has too many entries");
    field(config) = std::move(values);
    return OkStatus();
  }
  Status operator()(int32_t& (*field)(ServerConfig&)) const {
    INFERD_ASSIGN_OR_RETURN(const int64_t value, ParseWhole(key, text));
    field(config) = static_cast<int32_t>(value);
    return OkStatus();
  }
  Status operator()(int64_t& (*field)(ServerConfig&)) const {
    INFERD_ASSIGN_OR_RETURN(field(config), ParseWhole(key, text));
    return OkStatus();
  }
  Status operator()(double& (*field)(ServerConfig&)) const {
    INFERD_ASSIGN_OR_RETURN(const double value, config::ParseNumber(text));
    INFERD_RETURN_IF_ERROR(CheckRange(key, value));
    field(config) = value;
    return OkStatus();
  }
  Status operator()(std::vector<double>& (*field)(ServerConfig&)) const {
    std::vector<double> values;
    for (std::string_view piece : config::SplitList(text)) {
      INFERD_ASSIGN_OR_RETURN(const double value, config::ParseNumber(piece));
      INFERD_RETURN_IF_ERROR(CheckRange(key, value));
      if (!values.empty() && value <= values.back()) {
        return InvalidArgumentError("must be ascending");
      }
      values.push_back(value);
    }
    if (values.size() > kMaxListEntries) return InvalidArgumentError("has too many entries");
    field(config) = std::move(values);
    return OkStatus();
  }
  Status operator()(bool& (*field)(ServerConfig&)) const {
    INFERD_ASSIGN_OR_RETURN(field(config), config::ParseBoolean(text));
    return OkStatus();
  }
};

struct Getter {
  const ConfigKey& key;
  ServerConfig& config;

  std::string Whole(int64_t value) const {
    if (key.type == ConfigType::kDuration) return FormatDurationMs(value);
    if (key.type == ConfigType::kSize) return FormatSizeBytes(value);
    return std::to_string(value);
  }
  std::string operator()(std::string& (*field)(ServerConfig&)) const { return field(config); }
  std::string operator()(std::vector<std::string>& (*field)(ServerConfig&)) const {
    std::string text;
    for (const std::string& value : field(config)) text += (text.empty() ? "" : ", ") + value;
    return text;
  }
  std::string operator()(int32_t& (*field)(ServerConfig&)) const { return Whole(field(config)); }
  std::string operator()(int64_t& (*field)(ServerConfig&)) const { return Whole(field(config)); }
  std::string operator()(double& (*field)(ServerConfig&)) const {
    return FormatNumber(field(config));
  }
  std::string operator()(std::vector<double>& (*field)(ServerConfig&)) const {
    std::string text;
    for (double value : field(config)) text += (text.empty() ? "" : ", ") + FormatNumber(value);
    return text;
  }
  std::string operator()(bool& (*field)(ServerConfig&)) const {
    return field(config) ? "true" : "false";
  }
};

}  // namespace

const ConfigKey* FindConfigKey(std::string_view name) {
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

const ConfigKey& NearestConfigKey(std::string_view name) {
  const ConfigKey* nearest = nullptr;
  size_t least = 0;
  for (const ConfigKey& key : ConfigKeys()) {
    const size_t distance = config::EditDistance(name, key.name);
    if (nearest == nullptr || distance < least) {
      nearest = &key;
      least = distance;
    }
  }
  INFERD_CHECK(nearest != nullptr);
  return *nearest;
}

size_t TextDistance(std::string_view a, std::string_view b) { return config::EditDistance(a, b); }

std::string EnvironmentName(const ConfigKey& key) {
  std::string name = "INFERD_";
  name.append(key.section()).append("__").append(key.key());
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

Status SetConfigValue(const ConfigKey& key, std::string_view text, ServerConfig& config) {
  return std::visit(Setter{key, config::Trim(text), config}, key.field).WithPrefix(key.name);
}

std::string ConfigValueText(const ConfigKey& key, const ServerConfig& config) {
  ServerConfig copy = config;  // the accessors want a mutable one
  return std::visit(Getter{key, copy}, key.field);
}

}  // namespace inferd
