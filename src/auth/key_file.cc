#include "auth/key_file.h"

#include <charconv>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "auth/sha256.h"
#include "yaml-cpp/yaml.h"

namespace inferd::auth {
namespace {

constexpr size_t kMaxErrors = 20;
constexpr size_t kMaxModelNameBytes = 256;

// A mapping's key as it may be quoted back: what is no plain field name may be a
// secret in the wrong place.
std::string FieldName(const std::string& text) {
  if (text.empty() || text.size() > 32 ||
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != std::string::npos) {
    return "a field";
  }
  return text;
}

// Reads one file. Values are never quoted in errors.
class KeyFileParser {
 public:
  explicit KeyFileParser(std::string_view origin) : origin_(origin) {}

  void ParseRoot(const YAML::Node& root) {
    if (!root.IsMap()) return Error(root, "expected a map with the list `keys`");
    bool has_keys = false;
    for (const auto& item : root) {
      const std::string name = NameOf(item.first);
      if (name != "keys") {
        Error(item.first, "unknown field " + FieldName(name) + "; the only one is keys");
      } else if (std::exchange(has_keys, true)) {
        Error(item.first, "keys: set twice");
      } else {
        ParseList(item.second);
      }
    }
    if (!has_keys) Error(root, "the list `keys` is missing");
  }

  Status status() const { return errors_.empty() ? OkStatus() : InvalidArgumentError(errors_); }
  std::vector<KeyRing::Entry> Take() { return std::move(entries_); }

 private:
  void Error(const YAML::Node& node, const std::string& what) {
    if (++num_errors_ > kMaxErrors) return;
    if (!errors_.empty()) errors_ += '\n';
    const int line = node.Mark().line;  // -1 for what is nowhere in the file
    errors_ += origin_ + ":" + std::to_string(line < 0 ? 1 : line + 1) + ": " + what;
  }

  static std::string NameOf(const YAML::Node& node) {
    return node.IsScalar() ? node.Scalar() : std::string();
  }

  void ParseList(const YAML::Node& list) {
    if (list.IsNull()) return;
    if (!list.IsSequence()) return Error(list, "keys: expected a list");
    if (list.size() > KeyRing::kMaxKeys) {
      return Error(list, "keys: more than " + std::to_string(KeyRing::kMaxKeys) + " entries");
    }
    for (const YAML::Node& item : list) ParseEntry(item);
  }

  void ParseEntry(const YAML::Node& node) {
    if (!node.IsMap()) return Error(node, "expected a map with `id` and `sha256`");
    KeyRing::Entry entry;
    std::set<std::string> seen;
    const size_t errors_before = num_errors_;
    for (const auto& item : node) {
      const std::string name = NameOf(item.first);
      if (!seen.insert(name).second) {
        Error(item.first, FieldName(name) + ": set twice");
      } else {
        ParseField(name, item.first, item.second, &entry);
      }
    }
    for (const char* needed : {"id", "sha256"}) {
      if (seen.count(needed) == 0) Error(node, std::string(needed) + ": missing");
    }
    if (num_errors_ > errors_before) return;
    if (entry.key.tenant.empty()) entry.key.tenant = entry.key.id;
    CheckAgainstOthers(node, entry);
    entries_.push_back(std::move(entry));
  }

  void ParseField(const std::string& name, const YAML::Node& key, const YAML::Node& value,
                  KeyRing::Entry* entry) {
    ApiKey& rights = entry->key;
    if (name == "id") {
      ParseName(name, value, &rights.id);
    } else if (name == "tenant") {
      ParseName(name, value, &rights.tenant);
    } else if (name == "sha256") {
      if (!value.IsScalar() || !FromHex(value.Scalar(), &entry->sha256)) {
        Error(value, "sha256: expected 64 hexadecimal digits");
      }
    } else if (name == "models") {
      ParseModels(value, &rights.models);
    } else if (name == "requests_per_minute") {
      ParseLimit(name, value, KeyRing::kMaxLimit, &rights.requests_per_minute);
    } else if (name == "tokens_per_minute") {
      ParseLimit(name, value, KeyRing::kMaxLimit, &rights.tokens_per_minute);
    } else if (name == "max_concurrent") {
      int64_t limit = 0;
      ParseLimit(name, value, 1'000'000, &limit);
      rights.max_concurrent = static_cast<int32_t>(limit);
    } else if (name == "admin") {
      const std::string text = NameOf(value);
      if (text != "true" && text != "false") Error(value, "admin: expected true or false");
      rights.admin = text == "true";
    } else {
      Error(key, "unknown field " + FieldName(name));
    }
  }

  void ParseName(const std::string& field, const YAML::Node& value, std::string* out) {
    *out = NameOf(value);
    if (!IsKeyName(*out)) {
      Error(value, field + ": expected 1 to 64 letters, digits, dots, dashes or underscores");
    }
  }

  void ParseModels(const YAML::Node& list, std::vector<std::string>* out) {
    // An empty list would read as "none" and mean "all".
    if (!list.IsSequence() || list.size() == 0 || list.size() > KeyRing::kMaxModels) {
      return Error(list, "models: expected a list of 1 to " + std::to_string(KeyRing::kMaxModels) +
                             " names");
    }
    for (const YAML::Node& item : list) {
      const std::string& name = item.Scalar();  // empty for what is none
      if (name.empty() || name.size() > kMaxModelNameBytes) {
        return Error(item, "models: expected names of models");
      }
      out->push_back(name);
    }
  }

  void ParseLimit(const std::string& field, const YAML::Node& value, int64_t max, int64_t* out) {
    const std::string text = NameOf(value);
    const auto result = std::from_chars(text.data(), text.data() + text.size(), *out);
    if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size() ||
        *out < 0 || *out > max) {
      *out = 0;
      Error(value, field + ": expected a whole number from 0 to " + std::to_string(max));
    }
  }

  // Two keys alike, or two keys of a tenant that disagree about its limits.
  void CheckAgainstOthers(const YAML::Node& node, const KeyRing::Entry& entry) {
    const ApiKey& key = entry.key;
    if (!ids_.insert(key.id).second) Error(node, "id: " + key.id + " is there twice");
    if (!hashes_.insert(ToHex(entry.sha256)).second) {
      Error(node, "sha256: another entry has the same; every key needs its own");
    }
    const auto [first, is_new] = limits_.emplace(
        key.tenant, Limits{key.requests_per_minute, key.tokens_per_minute, key.max_concurrent});
    if (!is_new && first->second !=
                       Limits{key.requests_per_minute, key.tokens_per_minute, key.max_concurrent}) {
      Error(node, "tenant: the limits differ from those of an earlier key of " + key.tenant);
    }
  }

  using Limits = std::tuple<int64_t, int64_t, int32_t>;
  const std::string origin_;
  std::string errors_;
  size_t num_errors_ = 0;
  std::vector<KeyRing::Entry> entries_;
  std::set<std::string> ids_;
  std::set<std::string> hashes_;
  std::map<std::string, Limits> limits_;
};

}  // namespace

StatusOr<std::vector<KeyRing::Entry>> ParseKeyFile(std::string_view yaml, std::string_view origin) {
  try {
    KeyFileParser parser(origin);
    parser.ParseRoot(YAML::Load(std::string(yaml)));
    INFERD_RETURN_IF_ERROR(parser.status());
    return parser.Take();
  } catch (const YAML::Exception& error) {
    // Its own text may quote the file.
    const int line = error.mark.line;
    return InvalidArgumentError(std::string(origin) + ":" +
                                std::to_string(line < 0 ? 1 : line + 1) + ": not valid YAML");
  }
}

std::string KeyFileLines(const KeyRing::Entry& entry) {
  const ApiKey& key = entry.key;
  std::string text = "  - id: " + key.id + "\n    sha256: " + ToHex(entry.sha256) + "\n";
  if (!key.tenant.empty() && key.tenant != key.id) text += "    tenant: " + key.tenant + "\n";
  if (!key.models.empty()) {
    text += "    models:\n";
    for (const std::string& model : key.models) {
      YAML::Emitter quoted;
      quoted << YAML::DoubleQuoted << model;
      text += std::string("      - ") + quoted.c_str() + "\n";
    }
  }
  const auto limit = [&text](const char* name, int64_t value) {
    if (value > 0) text += "    " + std::string(name) + ": " + std::to_string(value) + "\n";
  };
  limit("requests_per_minute", key.requests_per_minute);
  limit("tokens_per_minute", key.tokens_per_minute);
  limit("max_concurrent", key.max_concurrent);
  if (key.admin) text += "    admin: true\n";
  return text;
}

}  // namespace inferd::auth
