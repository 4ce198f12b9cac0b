#include "app/command_line.h"

#include <algorithm>
#include <functional>

#include "CLI/CLI.hpp"
#include "app/version.h"
#include "inferd/config/config_key.h"
#include "inferd/config/config_loader.h"

namespace inferd::app {
namespace {

// Values of the key flags as CLI11 fills them, in the order of ConfigKeys().
struct KeyOptions {
  std::vector<std::string> values;
  std::vector<CLI::Option*> options;
};

// "--engine.depth,--depth"
std::string FlagNames(const ConfigKey& key) {
  std::string names = "--" + std::string(key.name);
  if (!key.flag.empty()) names += ",--" + std::string(key.flag);
  return names;
}

void AddServeOptions(CLI::App& command, ServeArguments& arguments, KeyOptions& keys) {
  command.add_option("-c,--config", arguments.config_file, "Configuration file (YAML)");
  command.add_flag_callback(
      "--check-config", [&] { arguments.mode = ServeMode::kCheckConfig; },
      "Read the configuration, say what is wrong with it, and exit");
  command.add_flag_callback(
      "--print-config", [&] { arguments.mode = ServeMode::kPrintConfig; },
      "Print the effective configuration with the origin of each value, and exit");
  command.add_flag_callback(
      "--dry-run", [&] { arguments.mode = ServeMode::kDryRun; },
      "Print what the model would take of the memory, and exit");
  keys.values.resize(ConfigKeys().size());
  for (size_t i = 0; i < ConfigKeys().size(); ++i) {
    const ConfigKey& key = ConfigKeys()[i];
    CLI::Option* option =
        key.type == ConfigType::kBoolean
            ? command.add_flag(FlagNames(key), keys.values[i], std::string(key.doc))
            : command.add_option(FlagNames(key), keys.values[i], std::string(key.doc));
    option->group("Configuration: " + std::string(key.section()));
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    keys.options.push_back(option);
  }
}

// The flags that were given. The short name is quoted back when there is one.
std::vector<KeyFlag> GivenFlags(const KeyOptions& keys) {
  std::vector<KeyFlag> given;
  for (size_t i = 0; i < keys.options.size(); ++i) {
    if (keys.options[i]->count() == 0) continue;
    const ConfigKey& key = ConfigKeys()[i];
    given.push_back({std::string(key.name), keys.values[i],
                     "--" + std::string(key.flag.empty() ? key.name : key.flag)});
  }
  return given;
}

// What chat, models and health say of themselves and ask of the daemon.
void AddSecurityOptions(CLI::App& command, ClientArguments& client) {
  command.add_option("--api-key-file", client.api_key_file,
                     "File with the API key (default: the environment's INFERD_API_KEY)");
  command.add_flag("--tls", client.tls, "Speak TLS");
  command.add_option("--tls-ca", client.tls_ca, "Authorities to trust (default: the system's)");
  CLI::Option* certificate =
      command.add_option("--tls-cert", client.tls_certificate, "This client's certificate");
  CLI::Option* key = command.add_option("--tls-key", client.tls_key, "The certificate's key");
  certificate->needs(key);
  key->needs(certificate);
  command.add_option("--tls-name", client.tls_name,
                     "Name to expect in the daemon's certificate (default: that of the address)");
}

void AddClientOptions(CLI::App& command, ClientArguments& client, double& timeout_s) {
  command.add_option("--addr", client.address, "Address of the daemon")->capture_default_str();
  command.add_option("--timeout", timeout_s, "Seconds to wait")
      ->check(CLI::Range(0.001, 86'400.0))
      ->capture_default_str();
  AddSecurityOptions(command, client);
}

void AddSamplingOptions(CLI::App& command, SamplingArguments& sampling) {
  command.add_option("--temperature", sampling.temperature, "0: always the likeliest token");
  command.add_option("--top-p", sampling.top_p, "Keep the likeliest tokens up to this sum");
  command.add_option("--top-k", sampling.top_k, "Keep this many tokens; 0: all");
  command.add_option("--min-p", sampling.min_p, "Drop tokens below this share of the likeliest");
  command.add_option("--repetition-penalty", sampling.repetition_penalty, "1: none");
  command.add_option("--seed", sampling.seed, "Makes the answer repeatable");
  command.add_option("--max-tokens", sampling.max_tokens, "Longest answer, in tokens");
  command.add_option("--stop", sampling.stop, "Text that ends the answer; may be repeated");
}

void AddQuantizeOptions(CLI::App& command, QuantizeArguments& quantize) {
  command.add_option("input", quantize.input, "Directory of the checkpoint")->required();
  command.add_option("output", quantize.output, "New directory to write")->required();
  command
      .add_option("--method", quantize.method,
                  "int8, fp8: 8-bit weights and activations, as integers or as E4M3; int4-awq: "
                  "4-bit weights, scaled by what goes into them; int4-rtn: 4-bit weights, rounded "
                  "as they are")
      ->required()
      ->check(CLI::IsMember({"int8", "fp8", "int4-awq", "int4-rtn"}));
  command
      .add_option("--head", quantize.head,
                  "keep: the output matrix as it is; int8: in 8 bits too (int4 and fp8 "
                  "checkpoints with it are read by inferd only)")
      ->check(CLI::IsMember({"keep", "int8"}))
      ->capture_default_str();
  command.add_option("--group-size", quantize.group_size,
                     "int4: inputs that share a scale (default 128)");
  command.add_option(
      "--calibration", quantize.calibration,
      "int4-awq: a text file like what the model will see (default: a built-in text)");
  command.add_option("--threads", quantize.threads, "0: what the process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

void AddKeyOptions(CLI::App& command, KeyArguments& key) {
  command
      .add_option("action", key.action,
                  "new: print a new key and its lines for the key file; check: read a key file")
      ->required()
      ->check(CLI::IsMember({"new", "check"}));
  command.add_option("file", key.file, "check: the key file");
  ApiKey& rights = key.rights;
  command.add_option("--id", rights.id, "Name for the logs (default: a random one)");
  command.add_option("--tenant", rights.tenant,
                     "Whose quota and cache it shares (default: the id)");
  command.add_option("--models", rights.models, "Models it may use (default: all)")->delimiter(',');
  const auto limit = CLI::Range(int64_t{0}, KeyRing::kMaxLimit);
  command.add_option("--rpm", rights.requests_per_minute, "Requests a minute; 0: no limit")
      ->check(limit);
  command.add_option("--tpm", rights.tokens_per_minute, "Tokens a minute; 0: no limit")
      ->check(limit);
  command.add_option("--concurrent", rights.max_concurrent, "Requests at once; 0: no limit")
      ->check(CLI::Range(0, 1'000'000));
  command.add_flag("--admin", rights.admin, "It may also use the admin service");
}

void AddAdminOptions(CLI::App& command, AdminArguments& admin, double& timeout_s) {
  command
      .add_option("action", admin.action,
                  "reload: read configuration, keys and certificates again; drain: not ready from "
                  "now on; requests: list the live ones; abort: end one; log-level: set it")
      ->required()
      ->check(CLI::IsMember({"reload", "drain", "requests", "abort", "log-level"}));
  command.add_option("value", admin.value, "abort: the request's id; log-level: the level");
  AddClientOptions(command, admin.client, timeout_s);
}

Status CheckAdmin(const AdminArguments& admin) {
  const bool takes_value = admin.action == "abort" || admin.action == "log-level";
  if (takes_value != admin.value.empty()) return OkStatus();
  return InvalidArgumentError("admin " + admin.action +
                              (takes_value ? " needs a value" : " takes no value"));
}

Status CheckKey(const KeyArguments& key) {
  if ((key.action == "check") == key.file.empty()) {
    return InvalidArgumentError(key.file.empty() ? "key check needs a file"
                                                 : "key new takes no file");
  }
  return OkStatus();
}

// What CLI11 cannot say: options that belong to some methods.
Status CheckQuantize(const QuantizeArguments& quantize) {
  if ((quantize.method == "int8" || quantize.method == "fp8") && quantize.group_size) {
    return InvalidArgumentError("--group-size is for int4-awq and int4-rtn");
  }
  if (quantize.method != "int4-awq" && !quantize.calibration.empty()) {
    return InvalidArgumentError("--calibration is for int4-awq");
  }
  return OkStatus();
}

// "--prot" -> "--port": the known flag of the command most like an unknown one.
std::string NearestFlag(const CLI::App& command, const std::string& unknown) {
  std::string name = unknown.substr(0, unknown.find('='));
  name.erase(0, name.find_first_not_of('-'));
  if (name.find('.') != std::string::npos) {
    return "--" + std::string(NearestConfigKey(name).name);
  }
  std::string best;
  size_t least = 4;  // further away is no help
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& known : option->get_lnames()) {
      if (known.find('.') != std::string::npos) continue;
      const size_t distance = TextDistance(name, known);
      if (distance < least) {
        best = "--" + known;
        least = distance;
      }
    }
  }
  return best;
}

Status UnknownArguments(const CLI::App& command, const std::vector<std::string>& rest) {
  std::string message;
  for (const std::string& argument : rest) {
    if (!message.empty()) message += "; ";
    message += (argument.rfind('-', 0) == 0 ? "unknown flag " : "unexpected argument ") + argument;
    const std::string nearest =
        argument.rfind('-', 0) == 0 ? NearestFlag(command, argument) : std::string();
    if (!nearest.empty()) message += "; did you mean " + nearest + "?";
  }
  return InvalidArgumentError(message);
}

// "--flag=" as two words: CLI11 would take the next flag for the value of the first form.
std::vector<std::string> WithEmptyValues(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  for (const std::string& word : words) {
    const bool empty_value = word.rfind("--", 0) == 0 && word.find('=') == word.size() - 1;
    result.push_back(empty_value ? word.substr(0, word.size() - 1) : word);
    if (empty_value) result.emplace_back();
  }
  return result;
}

std::string VersionText() {
  std::string text = "inferd " + std::string(kVersion);
  if (!kGitCommit.empty()) text += " (" + std::string(kGitCommit) + ")";
  return text + "\n";
}

}  // namespace

StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  CommandLine line;
  CLI::App program("inferd: a standalone inference daemon for large language models", "inferd");
  program.require_subcommand(1);
  bool version = false;
  program.add_flag("--version", version, "Print the version");

  CLI::App& serve = *program.add_subcommand("serve", "Run the daemon (also without a subcommand)");
  CLI::App& chat = *program.add_subcommand("chat", "Talk to a running daemon");
  CLI::App& health = *program.add_subcommand("health", "Exit 0 if a running daemon is ready");
  CLI::App& models = *program.add_subcommand("models", "List the models of a running daemon");
  CLI::App& quantize =
      *program.add_subcommand("quantize", "Write a checkpoint again with 8-bit or 4-bit weights");
  CLI::App& key = *program.add_subcommand("key", "Make an API key, or check a key file");
  CLI::App& admin = *program.add_subcommand("admin", "Operate a running daemon");
  CLI::App& reference = *program.add_subcommand("config-reference", "Print docs/configuration.md");

  KeyOptions keys;
  AddServeOptions(serve, line.serve, keys);
  double chat_timeout_s = 600;
  double health_timeout_s = 5;
  double models_timeout_s = 5;
  AddClientOptions(chat, line.chat.client, chat_timeout_s);
  chat.add_option("--model", line.chat.model, "Which model; may be left out if there is one");
  chat.add_option("--system", line.chat.system, "System message");
  chat.add_option("--once", line.chat.once, "Ask this, print the answer, and exit");
  chat.add_flag("--stats", line.chat.stats, "Print token counts and times after each answer");
  AddSamplingOptions(chat, line.chat.sampling);
  AddClientOptions(health, line.health.client, health_timeout_s);
  health.add_option("--service", line.health.service, "Service to ask for; empty: all of it");
  AddClientOptions(models, line.models, models_timeout_s);
  AddQuantizeOptions(quantize, line.quantize);
  AddKeyOptions(key, line.key);
  double admin_timeout_s = 30;
  AddAdminOptions(admin, line.admin, admin_timeout_s);

  std::vector<std::string> words = WithEmptyValues(arguments);
  if (words.empty()) words = {"--help"};
  const bool bare_serve = words[0].rfind("--", 0) == 0 && words[0] != "--help" &&
                          words[0] != "--version" && words[0] != "--help-all";
  if (bare_serve || words[0] == "-c") words.insert(words.begin(), "serve");
  program.allow_extras();
  for (CLI::App* command : program.get_subcommands([](CLI::App*) { return true; })) {
    command->allow_extras();
  }
  try {
    if (words[0] == "--version") {
      line.print = VersionText();
      return line;
    }
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    program.parse(words);
  } catch (const CLI::CallForHelp&) {
    const auto parsed = program.get_subcommands();
    line.print = parsed.empty() ? program.help() : parsed[0]->help();
    return line;
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> rest = program.remaining(/*recurse=*/true);
    if (program.get_subcommands().empty() && !rest.empty()) {
      return InvalidArgumentError("unknown command " + rest[0] + "; see inferd --help");
    }
    return InvalidArgumentError(error.what());
  }
  const CLI::App& command = *program.get_subcommands()[0];
  const std::vector<std::string> rest = program.remaining(/*recurse=*/true);
  if (!rest.empty()) return UnknownArguments(command, rest);

  line.serve.flags = GivenFlags(keys);
  line.chat.client.timeout_ms = static_cast<int64_t>(chat_timeout_s * 1000);
  line.health.client.timeout_ms = static_cast<int64_t>(health_timeout_s * 1000);
  line.admin.client.timeout_ms = static_cast<int64_t>(admin_timeout_s * 1000);
  line.models.timeout_ms = static_cast<int64_t>(models_timeout_s * 1000);
  if (command.get_name() == "serve") {
    line.command = Command::kServe;
  } else if (command.get_name() == "chat") {
    line.command = Command::kChat;
  } else if (command.get_name() == "health") {
    line.command = Command::kHealth;
  } else if (command.get_name() == "models") {
    line.command = Command::kModels;
  } else if (command.get_name() == "quantize") {
    line.command = Command::kQuantize;
    INFERD_RETURN_IF_ERROR(CheckQuantize(line.quantize));
  } else if (&command == &key) {
    line.command = Command::kKey;
    INFERD_RETURN_IF_ERROR(CheckKey(line.key));
  } else if (&command == &admin) {
    line.command = Command::kAdmin;
    INFERD_RETURN_IF_ERROR(CheckAdmin(line.admin));
  } else if (&command == &reference) {
    line.print = ConfigReferenceMarkdown();
  }
  return line;
}

}  // namespace inferd::app
