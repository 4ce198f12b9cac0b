#include "inferd/config/config_loader.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "config/value_text.h"
#include "inferd/config/layer_split.h"
#include "inferd/config/tp_grid.h"
#include "yaml-cpp/yaml.h"

namespace inferd {
namespace {

// Error lines of one source.
class ErrorList {
 public:
  void Add(const std::string& line) {
    if (!text_.empty()) text_ += '\n';
    text_ += line;
  }
  void Add(const Status& status, const std::string& where) {
    if (!status.ok()) Add(where + ": " + status.message());
  }
  Status ToStatus() const { return text_.empty() ? OkStatus() : InvalidArgumentError(text_); }

 private:
  std::string text_;
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::string Where(std::string_view origin, const YAML::Node& node) {
  return std::string(origin) + ":" + std::to_string(node.Mark().line + 1);
}

// A scalar as it stands, a list joined by commas; nothing for anything else.
bool NodeText(const YAML::Node& node, std::string* text) {
  text->clear();
  if (node.IsNull()) return true;
  if (node.IsScalar()) {
    *text = node.Scalar();
    return true;
  }
  if (!node.IsSequence()) return false;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return false;
    if (!text->empty()) *text += ",";
    *text += item.Scalar();
  }
  return true;
}

bool IsSection(std::string_view name) {
  return std::any_of(ConfigKeys().begin(), ConfigKeys().end(),
                     [&](const ConfigKey& key) { return key.section() == name; });
}

// What an unknown entry at the top of a file was meant to be: a section, or the
// key of a section that was left out.
std::string NearestOf(const std::string& name, const YAML::Node& value) {
  if (value.IsMap() && value.size() > 0) {
    const std::string first = name + "." + value.begin()->first.Scalar();
    return std::string(NearestConfigKey(first).section());
  }
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.key() == name) return std::string(key.name);
  }
  return std::string(NearestConfigKey(name).name);
}

bool IsUnixSocket(std::string_view address) {
  return address.rfind("unix:/", 0) == 0 && address.size() > 6;
}

// An address, not a name: 127.example.org may be anywhere.
bool IsLoopback(const std::string& host) {
  if (host == "localhost" || host == "::1" || host == "[::1]" || IsUnixSocket(host)) return true;
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

// "host:port" of a loopback address.
bool IsLoopbackAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || !IsLoopback(address.substr(0, colon))) return false;
  const StatusOr<int64_t> port = config::ParseInteger(address.substr(colon + 1));
  return port.ok() && *port >= 0 && *port <= 65535;
}

bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  return std::any_of(text.begin(), text.end(), [](char c) {
    return !(std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/' ||
             c == '-');
  });
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

// A value, or a list of them, as YAML writes it.
std::string YamlText(const ConfigKey& key, const std::string& text) {
  const auto scalar = [](std::string_view value) {
    return NeedsQuotes(value) ? Quote(value) : std::string(value);
  };
  if (key.type != ConfigType::kStringList && key.type != ConfigType::kNumberList) {
    return scalar(text);
  }
  std::string list;
  for (std::string_view piece : config::SplitList(text)) {
    list += (list.empty() ? "" : ", ") + scalar(piece);
  }
  return "[" + list + "]";
}

}  // namespace

std::string UnknownKeyMessage(std::string_view name) {
  return "unknown key " + std::string(name) + "; did you mean " +
         std::string(NearestConfigKey(name).name) + "?";
}

ConfigLoader::ConfigLoader() { loaded_.origins.assign(ConfigKeys().size(), "default"); }

Status ConfigLoader::Set(std::string_view name, std::string_view value, std::string origin) {
  const ConfigKey* key = FindConfigKey(name);
  if (key == nullptr) return InvalidArgumentError(UnknownKeyMessage(name));
  INFERD_RETURN_IF_ERROR(SetConfigValue(*key, value, loaded_.config));
  loaded_.origins[static_cast<size_t>(key - ConfigKeys().data())] = std::move(origin);
  return OkStatus();
}

Status ConfigLoader::ApplyFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(kMaxFileBytes + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
  }
  if (!file && !file.eof()) return NotFoundError("cannot read " + path.string());
  if (static_cast<int64_t>(text.size()) > kMaxFileBytes) {
    return InvalidArgumentError(path.string() + ": larger than 1MiB");
  }
  return ApplyYaml(text, path.string());
}

Status ConfigLoader::ApplyYaml(std::string_view text, std::string_view origin) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsNull()) return OkStatus();
    if (!root.IsMap()) {
      return InvalidArgumentError(std::string(origin) + ": expected a map of sections");
    }
    ErrorList errors;
    std::set<std::string> seen;
    for (const auto& section : root) {
      const std::string section_name = section.first.Scalar();
      if (!IsSection(section_name)) {
        // The nearest key may be one meant to stand in its section.
        errors.Add(Where(origin, section.first) + ": unknown section " + section_name +
                   "; did you mean " + NearestOf(section_name, section.second) + "?");
        continue;
      }
      if (section.second.IsNull()) continue;
      if (!section.second.IsMap()) {
        errors.Add(Where(origin, section.first) + ": section " + section_name +
                   ": expected a map of keys");
        continue;
      }
      for (const auto& entry : section.second) {
        const std::string where = Where(origin, entry.first);
        const std::string name = section_name + "." + entry.first.Scalar();
        std::string value;
        if (!seen.insert(name).second) {
          errors.Add(where + ": " + name + ": set twice");
        } else if (!NodeText(entry.second, &value)) {
          errors.Add(where + ": " + name + ": expected a value or a list of values");
        } else {
          errors.Add(Set(name, value, where), where);
        }
      }
    }
    return errors.ToStatus();
  } catch (const YAML::Exception& error) {
    return InvalidArgumentError(std::string(origin) + ":" + std::to_string(error.mark.line + 1) +
                                ": " + error.msg);
  }
}

Status ConfigLoader::ApplyEnvironment(const std::vector<std::string>& entries) {
  constexpr std::string_view kPrefix = "INFERD_";
  ErrorList errors;
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || entry.rfind(kPrefix, 0) != 0) continue;
    const std::string variable = entry.substr(0, equals);
    const size_t gap = variable.find("__");
    if (gap == std::string::npos || gap < kPrefix.size()) continue;
    const std::string name = Lower(variable.substr(kPrefix.size(), gap - kPrefix.size())) + "." +
                             Lower(variable.substr(gap + 2));
    errors.Add(Set(name, std::string_view(entry).substr(equals + 1), "env " + variable),
               "environment " + variable);
  }
  return errors.ToStatus();
}

Status ConfigLoader::ApplyFlag(std::string_view name, std::string_view value,
                               std::string_view flag) {
  return Set(name, value, "flag " + std::string(flag)).WithPrefix(flag);
}

StatusOr<LoadedConfig> ConfigLoader::Finish() const {
  INFERD_RETURN_IF_ERROR(CheckConfig(loaded_.config));
  return loaded_;
}

namespace {

constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

// "host:port", "http://host:port" or "https://host:port".
bool IsCollector(std::string_view endpoint) {
  if (endpoint.rfind(kHttp, 0) == 0) {
    endpoint.remove_prefix(kHttp.size());
  } else if (endpoint.rfind(kHttps, 0) == 0) {
    endpoint.remove_prefix(kHttps.size());
  }
  const size_t colon = endpoint.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  if (endpoint.find('/') != std::string_view::npos) return false;
  const StatusOr<int64_t> port = config::ParseInteger(endpoint.substr(colon + 1));
  return port.ok() && *port >= 1 && *port <= 65535;
}

// Who may reach the ports, and with what.
void CheckAccess(const ServerConfig& config, ErrorList* errors) {
  const ServerConfig::Server& server = config.server;
  if (server.tls_certificate.empty() != server.tls_key.empty()) {
    errors->Add("server.tls_certificate and server.tls_key: either needs the other");
  }
  if (!server.tls_client_ca.empty() && server.tls_certificate.empty()) {
    errors->Add("server.tls_client_ca: needs server.tls_certificate");
  }
  if (!config.admin.address.empty() && !IsUnixSocket(config.admin.address) &&
      !IsLoopbackAddress(config.admin.address)) {
    errors->Add("admin.address: must be unix:/path or a loopback address and a port");
  }
  if (server.insecure_no_auth) return;
  const bool asks = !server.api_keys_file.empty() || !server.tls_client_ca.empty();
  if (!asks && !IsLoopback(server.host)) {
    errors->Add("server.host: " + server.host +
                " can be reached from other machines and anybody could use it; set "
                "server.api_keys_file, server.tls_client_ca, or server.insecure_no_auth to "
                "accept that");
  }
  if (config.http.enabled && !IsLoopback(config.http.host)) {
    errors->Add("http.host: " + config.http.host +
                " can be reached from other machines and the side port asks for no key; use the "
                "main port, or set server.insecure_no_auth to accept that");
  }
}

}  // namespace

Status CheckConfig(const ServerConfig& config) {
  ErrorList errors;
  const ServerConfig::Engine& engine = config.engine;
  if ((engine.block_size & (engine.block_size - 1)) != 0) {
    errors.Add("engine.block_size: must be a power of two");
  }
  if (engine.max_batched_tokens < engine.max_running) {
    errors.Add("engine.max_batched_tokens: must be at least engine.max_running (" +
               std::to_string(engine.max_running) + ")");
  }
  if (config.limits.default_deadline_ms > config.limits.max_deadline_ms) {
    errors.Add("limits.default_deadline: must not be longer than limits.max_deadline");
  }
  if (config.model.weights == "host-stream" && config.model.packed_cache.empty()) {
    errors.Add("model.weights: host-stream needs model.packed_cache, where the weights stay");
  }
  const StatusOr<TpGrid> grid = ParseTpGrid(config.parallel.tp);
  if (!grid.ok()) {
    errors.Add(std::string(grid.status().message()));
  } else if (grid->rows * grid->columns * config.parallel.pp > 32) {
    errors.Add("parallel.pp: with parallel.tp there would be more than 32 ranks");
  } else if (config.model.weights == "sharded" && (grid->rows == 1 || grid->columns > 1)) {
    errors.Add("model.weights: sharded needs several ranks in parallel.tp, and no grid");
  }
  const auto split = ParseLayerSplit(config.parallel.layer_split, config.parallel.pp);
  if (!split.ok()) errors.Add(std::string(split.status().message()));
  CheckAccess(config, &errors);
  if (!config.tracing.otlp_ca.empty() && config.tracing.otlp_endpoint.rfind(kHttps, 0) != 0) {
    errors.Add("tracing.otlp_ca: needs a tracing.otlp_endpoint that begins with https://");
  }
  if (!config.tracing.otlp_endpoint.empty() && !IsCollector(config.tracing.otlp_endpoint)) {
    errors.Add("tracing.otlp_endpoint: must be host:port, http://host:port or https://host:port");
  }
  if (config.http.enabled && config.http.port != 0 && config.http.port == config.server.port &&
      config.http.host == config.server.host) {
    errors.Add("http.port: the same as server.port");
  }
  return errors.ToStatus();
}

std::string PrintConfig(const LoadedConfig& loaded) {
  std::string text;
  std::string_view section;
  for (size_t i = 0; i < ConfigKeys().size(); ++i) {
    const ConfigKey& key = ConfigKeys()[i];
    if (key.section() != section) {
      section = key.section();
      text.append(section).append(":\n");
    }
    const std::string value = YamlText(key, ConfigValueText(key, loaded.config));
    std::string line = "  " + std::string(key.key()) + ": " + value;
    line.resize(std::max(line.size() + 2, size_t{44}), ' ');
    text += line + "# " + loaded.origins[i] + "\n";
  }
  return text;
}

}  // namespace inferd
