#include "app/command_line.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inferd/config/config_key.h"

namespace inferd::app {
namespace {

using ::testing::HasSubstr;

CommandLine Parse(const std::vector<std::string>& arguments) {
  StatusOr<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_TRUE(line.ok()) << line.status().ToString();
  return line.ok() ? std::move(*line) : CommandLine{};
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const StatusOr<CommandLine> line = ParseCommandLine(arguments);
  return line.ok() ? "no error" : line.status().message();
}

TEST(CommandLine, ServeTakesKeysAndShortFlags) {
  const CommandLine line = Parse({"serve", "--model", "dir", "--engine.depth=1", "--threads=2",
                                  "--http=false", "--server.reflection", "--config", "f.yaml"});
  EXPECT_EQ(line.command, Command::kServe);
  EXPECT_EQ(line.serve.config_file, "f.yaml");
  std::string seen;
  for (const KeyFlag& flag : line.serve.flags) {
    seen += flag.key + "=" + flag.value + " (" + flag.flag + ") ";
  }
  EXPECT_EQ(seen,
            "server.reflection=true (--server.reflection) http.enabled=false (--http) "
            "model.path=dir (--model) engine.depth=1 (--depth) cpu.threads=2 (--threads) ");
}

TEST(CommandLine, EveryKeyIsAFlag) {
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string value = key.type == ConfigType::kBoolean ? "true" : "1";
    const CommandLine line = Parse({"serve", "--" + std::string(key.name) + "=" + value});
    ASSERT_EQ(line.serve.flags.size(), 1U) << key.name;
    EXPECT_EQ(line.serve.flags[0].key, key.name);
    EXPECT_EQ(line.serve.flags[0].value, value);
    if (key.flag.empty()) continue;
    const CommandLine alias = Parse({"serve", "--" + std::string(key.flag) + "=" + value});
    ASSERT_EQ(alias.serve.flags.size(), 1U) << key.flag;
    EXPECT_EQ(alias.serve.flags[0].key, key.name);
  }
}

TEST(CommandLine, TheLastOfRepeatedFlagsCounts) {
  const CommandLine line =
      Parse({"serve", "--depth=1", "--http=true", "--depth=2", "--http=false"});
  ASSERT_EQ(line.serve.flags.size(), 2U);
  EXPECT_EQ(line.serve.flags[0].value, "false");
  EXPECT_EQ(line.serve.flags[1].value, "2");
}

TEST(CommandLine, AnEmptyValueIsAValue) {
  const CommandLine line =
      Parse({"serve", "--api-keys-file=", "--check-config", "--server.host=", "--port=1"});
  EXPECT_EQ(line.serve.mode, ServeMode::kCheckConfig);
  std::string seen;
  for (const KeyFlag& flag : line.serve.flags) seen += flag.key + "=" + flag.value + " ";
  EXPECT_EQ(seen, "server.host= server.port=1 server.api_keys_file= ");
  EXPECT_THAT(ErrorOf({"serve", "--server.reflection="}), HasSubstr("unexpected"));
}

TEST(CommandLine, ServeModes) {
  EXPECT_EQ(Parse({"serve", "--check-config"}).serve.mode, ServeMode::kCheckConfig);
  EXPECT_EQ(Parse({"serve", "--print-config"}).serve.mode, ServeMode::kPrintConfig);
  EXPECT_EQ(Parse({"serve", "--dry-run"}).serve.mode, ServeMode::kDryRun);
  EXPECT_EQ(Parse({"serve"}).serve.mode, ServeMode::kRun);
}

TEST(CommandLine, FlagsAloneMeanServe) {
  const CommandLine line = Parse({"--config", "f.yaml", "--port=1"});
  EXPECT_EQ(line.command, Command::kServe);
  EXPECT_EQ(line.serve.config_file, "f.yaml");
}

TEST(CommandLine, UnknownFlagsNameTheNearest) {
  EXPECT_EQ(ErrorOf({"serve", "--prot=1"}), "unknown flag --prot=1; did you mean --port?");
  EXPECT_EQ(ErrorOf({"serve", "--engine.max_runing=1"}),
            "unknown flag --engine.max_runing=1; did you mean --engine.max_running?");
  EXPECT_EQ(ErrorOf({"chat", "--temprature", "1"}),
            "unknown flag --temprature; did you mean --temperature?; unexpected argument 1");
  EXPECT_EQ(ErrorOf({"serve", "--zzzzzzzzzz"}), "unknown flag --zzzzzzzzzz");
  EXPECT_THAT(ErrorOf({"sevre"}), HasSubstr("unknown command sevre"));
  EXPECT_THAT(ErrorOf({"serve", "extra"}), HasSubstr("unexpected argument extra"));
}

TEST(CommandLine, BadValuesAreRefused) {
  EXPECT_NE(ErrorOf({"chat", "--temperature", "warm"}), "no error");
  EXPECT_NE(ErrorOf({"chat", "--timeout", "-1"}), "no error");
  EXPECT_NE(ErrorOf({"serve", "--model"}), "no error");
}

TEST(CommandLine, Chat) {
  const CommandLine line =
      Parse({"chat", "--addr", "h:1", "--once", "hello", "--system", "be brief", "--temperature",
             "0", "--seed", "-7", "--stop", "a", "--stop", "b", "--timeout", "1.5"});
  EXPECT_EQ(line.command, Command::kChat);
  EXPECT_EQ(line.chat.client.address, "h:1");
  EXPECT_EQ(line.chat.client.timeout_ms, 1500);
  EXPECT_EQ(line.chat.once, "hello");
  EXPECT_EQ(line.chat.system, "be brief");
  EXPECT_EQ(line.chat.sampling.temperature, 0.0F);
  EXPECT_EQ(line.chat.sampling.seed, -7);
  EXPECT_FALSE(line.chat.sampling.top_p.has_value());
  EXPECT_EQ(line.chat.sampling.stop, (std::vector<std::string>{"a", "b"}));
}

TEST(CommandLine, Quantize) {
  const CommandLine line = Parse({"quantize", "--method", "int4-awq", "in", "out",
                                  "--group-size=64", "--threads", "2", "--calibration", "text"});
  EXPECT_EQ(line.command, Command::kQuantize);
  EXPECT_EQ(line.quantize.input, "in");
  EXPECT_EQ(line.quantize.output, "out");
  EXPECT_EQ(line.quantize.method, "int4-awq");
  EXPECT_EQ(line.quantize.group_size, 64);
  EXPECT_EQ(line.quantize.calibration, "text");
  EXPECT_EQ(line.quantize.threads, 2);
  EXPECT_THAT(ErrorOf({"quantize", "in", "out"}), HasSubstr("--method"));
  EXPECT_THAT(ErrorOf({"quantize", "--method", "int8", "in"}), HasSubstr("output"));
  EXPECT_THAT(ErrorOf({"quantize", "--method", "int3", "in", "out"}), HasSubstr("int3"));
  EXPECT_THAT(ErrorOf({"quantize", "--method", "int8", "--group-size", "32", "in", "out"}),
              HasSubstr("--group-size is for"));
  EXPECT_THAT(ErrorOf({"quantize", "--method", "int4-rtn", "--calibration", "text", "in", "out"}),
              HasSubstr("--calibration is for"));
  EXPECT_THAT(ErrorOf({"quantize", "--method", "int8", "in", "out", "more"}), HasSubstr("more"));
}

TEST(CommandLine, Key) {
  const CommandLine line = Parse({"key", "new", "--id", "alice", "--tenant=team", "--models", "a,b",
                                  "--rpm=60", "--tpm", "1000", "--concurrent=2", "--admin"});
  EXPECT_EQ(line.command, Command::kKey);
  EXPECT_EQ(line.key.action, "new");
  const ApiKey& rights = line.key.rights;
  EXPECT_EQ(rights.id, "alice");
  EXPECT_EQ(rights.tenant, "team");
  EXPECT_EQ(rights.models, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(rights.requests_per_minute, 60);
  EXPECT_EQ(rights.tokens_per_minute, 1000);
  EXPECT_EQ(rights.max_concurrent, 2);
  EXPECT_TRUE(rights.admin);
  EXPECT_EQ(Parse({"key", "check", "keys.yaml"}).key.file, "keys.yaml");
  EXPECT_THAT(ErrorOf({"key", "check"}), HasSubstr("needs a file"));
  EXPECT_THAT(ErrorOf({"key", "new", "secret"}), HasSubstr("takes no file"));
  EXPECT_THAT(ErrorOf({"key", "old"}), HasSubstr("old"));
  EXPECT_THAT(ErrorOf({"key", "new", "--rpm=-1"}), HasSubstr("--rpm"));
}

TEST(CommandLine, Admin) {
  const CommandLine line =
      Parse({"admin", "abort", "some-id", "--addr", "unix:/run/inferd.sock", "--timeout=2"});
  EXPECT_EQ(line.command, Command::kAdmin);
  EXPECT_EQ(line.admin.action, "abort");
  EXPECT_EQ(line.admin.value, "some-id");
  EXPECT_EQ(line.admin.client.address, "unix:/run/inferd.sock");
  EXPECT_EQ(line.admin.client.timeout_ms, 2000);
  EXPECT_EQ(Parse({"admin", "reload"}).admin.action, "reload");
  EXPECT_THAT(ErrorOf({"admin", "abort"}), HasSubstr("needs a value"));
  EXPECT_THAT(ErrorOf({"admin", "drain", "x"}), HasSubstr("takes no value"));
  EXPECT_THAT(ErrorOf({"admin", "destroy"}), HasSubstr("destroy"));
}

TEST(CommandLine, TlsOfTheClients) {
  const CommandLine line = Parse(
      {"health", "--tls-ca=ca.pem", "--tls-cert=c.pem", "--tls-key=k.pem", "--tls-name=daemon"});
  EXPECT_EQ(line.health.client.tls_ca, "ca.pem");
  EXPECT_EQ(line.health.client.tls_certificate, "c.pem");
  EXPECT_EQ(line.health.client.tls_key, "k.pem");
  EXPECT_EQ(line.health.client.tls_name, "daemon");
  EXPECT_THAT(ErrorOf({"health", "--tls-cert=c.pem"}), HasSubstr("--tls-key"));
}

TEST(CommandLine, TextsToPrint) {
  EXPECT_THAT(Parse({"--version"}).print, HasSubstr("inferd 0."));
  EXPECT_THAT(Parse({"--help"}).print, HasSubstr("serve"));
  EXPECT_THAT(Parse({}).print, HasSubstr("chat"));
  EXPECT_THAT(Parse({"serve", "--help"}).print, HasSubstr("--engine.max_running"));
  EXPECT_EQ(Parse({"config-reference"}).print, ConfigReferenceMarkdown());
}

}  // namespace
}  // namespace inferd::app
