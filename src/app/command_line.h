#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "inferd/auth/key_ring.h"
#include "inferd/base/status.h"

namespace inferd::app {

// A configuration key set by a flag.
struct KeyFlag {
  std::string key;    // "engine.depth"
  std::string value;  // as written
  std::string flag;   // "--depth"
};

enum class ServeMode : uint8_t { kRun, kCheckConfig, kPrintConfig, kDryRun };

struct ServeArguments {
  std::string config_file;  // may be empty
  ServeMode mode = ServeMode::kRun;
  std::vector<KeyFlag> flags;
};

struct ClientArguments {
  std::string address = "localhost:50051";
  int64_t timeout_ms = 5'000;
  std::string api_key_file;     // empty: INFERD_API_KEY, if set
  std::string api_key;          // what is in it; never on the command line
  bool tls = false;             // also by any of these
  std::string tls_ca;           // PEM; empty: the system's
  std::string tls_certificate;  // PEM, with `tls_key`: of this client
  std::string tls_key;
  std::string tls_name;  // to expect in the server's certificate; empty: the address
};

// What is unset is left to the server.
struct SamplingArguments {
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int64_t> seed;
  std::optional<int32_t> max_tokens;
  std::vector<std::string> stop;
};

struct ChatArguments {
  ClientArguments client;  // timeout_ms: of one answer
  std::string model;       // empty: the only one
  std::string system;
  std::optional<std::string> once;
  bool stats = false;
  SamplingArguments sampling;
};

struct HealthArguments {
  ClientArguments client;
  std::string service;
};

struct QuantizeArguments {
  std::string input;
  std::string output;
  std::string method;         // "int8", "fp8", "int4-awq" or "int4-rtn"
  std::string head = "keep";  // or "int8"
  std::optional<int32_t> group_size;
  std::string calibration;  // may be empty
  int threads = 0;          // 0: what the process may use
};

// `inferd key new` and `inferd key check FILE`.
struct KeyArguments {
  std::string action;  // "new" or "check"
  std::string file;    // check
  ApiKey rights;       // new
};

// `inferd admin reload|drain|requests|abort ID|log-level LEVEL`.
struct AdminArguments {
  ClientArguments client;
  std::string action;
  std::string value;
};

enum class Command : uint8_t {
  kPrint,
  kServe,
  kChat,
  kHealth,
  kModels,
  kQuantize,
  kKey,
  kAdmin,
};

// The parsed command line. `print` is what to write to standard output for
// kPrint (help, version, the configuration reference).
struct CommandLine {
  Command command = Command::kPrint;
  std::string print;
  ServeArguments serve;
  ChatArguments chat;
  HealthArguments health;
  ClientArguments models;
  QuantizeArguments quantize;
  KeyArguments key;
  AdminArguments admin;
};

// `arguments` without the program's name. INVALID_ARGUMENT for what cannot be
// understood; an unknown flag's message names the nearest known one.
StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

}  // namespace inferd::app
