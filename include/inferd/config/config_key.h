// The one table of configuration keys. YAML, environment, flags, --print-config
// and docs/configuration.md all come from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/config/server_config.h"

namespace inferd {

// How a value is written. Durations are kept in milliseconds ("30s", "500ms",
// "10m", "1h"; a bare 0 is allowed), sizes in bytes ("64MiB", "1GiB", "4096").
enum class ConfigType : uint8_t {
  kString,
  kStringList,  // a, b, c
  kChoice,      // one of `choices`
  kInteger,
  kNumber,
  kNumberList,  // 0.1, 0.2: ascending, at most kMaxListEntries
  kBoolean,     // true or false
  kDuration,
  kSize,
};

inline constexpr size_t kMaxListEntries = 64;

// Where the value lives in a ServerConfig.
using ConfigField =
    std::variant<std::string& (*)(ServerConfig&), std::vector<std::string>& (*)(ServerConfig&),
                 int32_t& (*)(ServerConfig&), int64_t& (*)(ServerConfig&),
                 double& (*)(ServerConfig&), std::vector<double>& (*)(ServerConfig&),
                 bool& (*)(ServerConfig&)>;

// One key: an immutable description.
struct ConfigKey {
  std::string_view name;  // "engine.max_running"
  std::string_view flag;  // short flag without dashes, e.g. "max-running"; may be empty
  ConfigType type;
  ConfigField field;
  double min = 0;            // of numbers, milliseconds or bytes
  double max = 0;            // inclusive
  std::string_view choices;  // kChoice: "a|b|c"
  std::string_view doc;

  // "engine" and "max_running".
  std::string_view section() const { return name.substr(0, name.find('.')); }
  std::string_view key() const { return name.substr(name.find('.') + 1); }
};

// All keys, grouped by section.
std::span<const ConfigKey> ConfigKeys();

// Null when there is none of that name.
const ConfigKey* FindConfigKey(std::string_view name);
// The known key whose name is most like `name`, for error messages.
const ConfigKey& NearestConfigKey(std::string_view name);
// How many typing errors apart two names are.
size_t TextDistance(std::string_view a, std::string_view b);

// "INFERD_ENGINE__MAX_RUNNING".
std::string EnvironmentName(const ConfigKey& key);

// Sets the key from its written form. INVALID_ARGUMENT, with `config` unchanged,
// for what is malformed or out of range; the message names the key.
Status SetConfigValue(const ConfigKey& key, std::string_view text, ServerConfig& config);
// The written form of the present value; SetConfigValue accepts it.
std::string ConfigValueText(const ConfigKey& key, const ServerConfig& config);

// docs/configuration.md.
std::string ConfigReferenceMarkdown();

}  // namespace inferd
