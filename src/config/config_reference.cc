// docs/configuration.md, from the table.
#include <string>

#include "config/value_text.h"
#include "inferd/config/config_key.h"

namespace inferd {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

This page is generated from the table of keys (`inferd config-reference`); a test compares the two.

A value comes from, in order of precedence:

1. a flag: `--section.key=value`, or the short flag of the table;
2. the environment: `INFERD_SECTION__KEY=value` (two underscores between section and key);
3. the YAML file named by `--config`: sections are maps, keys are their members;
4. the default.

An unknown key is an error in each of them. `inferd serve --check-config` reads everything and says
what is wrong; `inferd serve --print-config` prints every value and where it came from, in a form
that `--config` reads again.

Durations are written `500ms`, `30s`, `10m`, `1h`; sizes in bytes or as `64KiB`, `8MiB`, `2GiB`;
lists as `a, b, c`, in YAML also as a sequence.

Exit codes: 2 for a bad flag, 78 for a bad file, environment or combination, 1 when something fails
while starting or running (a port in use, a damaged checkpoint), 70 when the engine fails, 0 otherwise.
)";

std::string_view TypeName(const ConfigKey& key) {
  switch (key.type) {
    case ConfigType::kString:
      return "text";
    case ConfigType::kStringList:
      return "list of texts";
    case ConfigType::kChoice:
      return "choice";
    case ConfigType::kInteger:
      return "integer";
    case ConfigType::kNumber:
      return "number";
    case ConfigType::kNumberList:
      return "ascending list of numbers";
    case ConfigType::kBoolean:
      return "true or false";
    case ConfigType::kDuration:
      return "duration";
    case ConfigType::kSize:
      return "size";
  }
  return "";
}

std::string Range(const ConfigKey& key) {
  switch (key.type) {
    case ConfigType::kChoice: {
      std::string text;
      for (char c : key.choices) text += c == '|' ? std::string(", ") : std::string(1, c);
      return text;
    }
    case ConfigType::kInteger:
      return std::to_string(static_cast<int64_t>(key.min)) + " – " +
             std::to_string(static_cast<int64_t>(key.max));
    case ConfigType::kNumber:
      return config::FormatNumber(key.min) + " – " + config::FormatNumber(key.max);
    case ConfigType::kDuration:
      return config::FormatDurationMs(static_cast<int64_t>(key.min)) + " – " +
             config::FormatDurationMs(static_cast<int64_t>(key.max));
    case ConfigType::kSize:
      return config::FormatSizeBytes(static_cast<int64_t>(key.min)) + " – " +
             config::FormatSizeBytes(static_cast<int64_t>(key.max));
    default:
      return "";
  }
}

}  // namespace

std::string ConfigReferenceMarkdown() {
  const ServerConfig defaults;
  std::string text(kIntroduction);
  std::string_view section;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.section() != section) {
      section = key.section();
      text += "\n## " + std::string(section) + "\n\n";
      text += "| key | short flag | type | default | range | meaning |\n";
      text += "|---|---|---|---|---|---|\n";
    }
    const std::string value = ConfigValueText(key, defaults);
    text += "| `" + std::string(key.name) + "` | ";
    if (!key.flag.empty()) text += "`--" + std::string(key.flag) + "` ";
    text += "| " + std::string(TypeName(key)) + " | ";
    if (!value.empty()) text += "`" + value + "` ";
    text += "| " + Range(key) + " | " + std::string(key.doc) + " |\n";
  }
  return text;
}

}  // namespace inferd
