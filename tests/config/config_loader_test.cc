#include "inferd/config/config_loader.h"
#include "inferd/config/layer_split.h"
#include "inferd/config/tp_grid.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/source_dir.h"

namespace inferd {
namespace {

using ::testing::HasSubstr;

std::string OriginOf(const LoadedConfig& loaded, std::string_view name) {
  for (size_t i = 0; i < ConfigKeys().size(); ++i) {
    if (ConfigKeys()[i].name == name) return loaded.origins[i];
  }
  return "no such key";
}

TEST(ConfigLoader, LaterSourcesWin) {
  ConfigLoader loader;
  ASSERT_TRUE(
      loader.ApplyYaml("engine:\n  max_running: 8\n  depth: 3\n  block_size: 32\n", "inferd.yaml")
          .ok());
  ASSERT_TRUE(loader
                  .ApplyEnvironment(
                      {"INFERD_ENGINE__MAX_RUNNING=16", "INFERD_ENGINE__DEPTH=4", "HOME=/root"})
                  .ok());
  ASSERT_TRUE(loader.ApplyFlag("engine.max_running", "32", "--max-running").ok());
  const StatusOr<LoadedConfig> loaded = loader.Finish();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config.engine.max_running, 32);
  EXPECT_EQ(loaded->config.engine.depth, 4);
  EXPECT_EQ(loaded->config.engine.block_size, 32);
  EXPECT_EQ(OriginOf(*loaded, "engine.max_running"), "flag --max-running");
  EXPECT_EQ(OriginOf(*loaded, "engine.depth"), "env INFERD_ENGINE__DEPTH");
  EXPECT_EQ(OriginOf(*loaded, "engine.block_size"), "inferd.yaml:4");
  EXPECT_EQ(OriginOf(*loaded, "engine.max_batched_tokens"), "default");
}

TEST(ConfigLoader, UnknownKeysNameTheNearest) {
  ConfigLoader loader;
  EXPECT_THAT(loader.ApplyYaml("engine:\n  max_runing: 8\n", "f").message(),
              HasSubstr("f:2: unknown key engine.max_runing; did you mean engine.max_running?"));
  EXPECT_THAT(loader.ApplyEnvironment({"INFERD_LOG__LEVLE=info"}).message(),
              HasSubstr("INFERD_LOG__LEVLE: unknown key log.levle; did you mean log.level?"));
  EXPECT_THAT(loader.ApplyFlag("server.prot", "1", "--server.prot").message(),
              HasSubstr("did you mean server.port?"));
}

TEST(ConfigLoader, UnknownSectionsNameTheNearest) {
  const auto message = [](std::string_view yaml) {
    return ConfigLoader().ApplyYaml(yaml, "f").message();
  };
  EXPECT_EQ(message("servre:\n  port: 1\n"), "f:1: unknown section servre; did you mean server?");
  EXPECT_EQ(message("max_running: 8\n"),
            "f:1: unknown section max_running; did you mean engine.max_running?");
  EXPECT_THAT(message("foo:\n"), HasSubstr("f:1: unknown section foo; did you mean "));
  EXPECT_EQ(message("engine:\n"), "");
}

TEST(ConfigLoader, OtherVariablesOfTheEnvironmentAreLeftAlone) {
  ConfigLoader loader;
  EXPECT_TRUE(loader
                  .ApplyEnvironment({"INFERD_PORT=tcp://10.0.0.1:50051", "INFERD_SERVICE_HOST=x",
                                     "INFERD_", "INFERD__X", "OTHER__KEY=1"})
                  .ok());
}

TEST(ConfigLoader, EveryErrorOfASourceIsReported) {
  ConfigLoader loader;
  const Status status = loader.ApplyYaml(
      "engine:\n  depth: 0\n  max_running: many\nlog:\n  level: loud\nextra: 1\nserver: [1]\n",
      "c.yaml");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("c.yaml:2: engine.depth: must be between 1 and 8"));
  EXPECT_THAT(status.message(), HasSubstr("c.yaml:3: engine.max_running: expected an integer"));
  EXPECT_THAT(status.message(), HasSubstr("c.yaml:5: log.level"));
  EXPECT_THAT(status.message(), HasSubstr("c.yaml:6: unknown section extra"));
  EXPECT_THAT(status.message(), HasSubstr("c.yaml:7: section server: expected a map"));
}

TEST(ConfigLoader, BadYamlIsRefused) {
  for (const std::string& text :
       {std::string("a: [1"), std::string("- 1\n- 2\n"), std::string("just text"),
        std::string("engine: {depth: {a: 1}}"), std::string("engine:\n  depth: 1\n  depth: 2\n"),
        std::string(100'000, '['), std::string("engine:\n\tdepth: 1\n"),
        std::string("a: &a [*a, *a]\nb: *a\n"), std::string("\"\\xZZ\": 1")}) {
    ConfigLoader loader;
    EXPECT_FALSE(loader.ApplyYaml(text, "f").ok()) << text.substr(0, 60);
  }
  ConfigLoader loader;
  EXPECT_TRUE(loader.ApplyYaml("", "f").ok());
  EXPECT_TRUE(loader.ApplyYaml("# nothing\nengine:\n", "f").ok());
}

TEST(ConfigLoader, ListsMayBeSequences) {
  ConfigLoader loader;
  ASSERT_TRUE(
      loader.ApplyYaml("model: {aliases: [a, b]}\nmetrics: {itl_buckets: [0.1, 1]}\n", "f").ok());
  EXPECT_EQ(loader.Finish()->config.model.aliases, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(loader.Finish()->config.metrics.itl_buckets, (std::vector<double>{0.1, 1}));
}

TEST(ConfigLoader, MissingFile) {
  ConfigLoader loader;
  EXPECT_EQ(loader.ApplyFile("/nowhere/inferd.yaml").code(), StatusCode::kNotFound);
}

TEST(ConfigLoader, ShippedFilesAreValid) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SourceDir().string() + "/configs")) {
    ConfigLoader loader;
    const Status status = loader.ApplyFile(entry.path());
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(loader.Finish().ok()) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST(PrintConfig, PrintsWhatItReads) {
  ConfigLoader loader;
  ASSERT_TRUE(loader
                  .ApplyYaml("model: {path: \"/models/a \\\"b\\\" #c\", aliases: [x, \"y: z\"]}\n"
                             "metrics: {ttft_buckets: [0.001, 2.5]}\n"
                             "server: {host: \"::1\"}\n",
                             "f")
                  .ok());
  const std::string printed = PrintConfig(*loader.Finish());
  EXPECT_THAT(printed, HasSubstr("depth: 2"));
  EXPECT_THAT(printed, HasSubstr("# default"));
  ConfigLoader again;
  const Status status = again.ApplyYaml(printed, "printed");
  ASSERT_TRUE(status.ok()) << status.ToString() << printed;
  const ServerConfig before = loader.Finish()->config;
  const ServerConfig after = again.Finish()->config;
  for (const ConfigKey& key : ConfigKeys()) {
    EXPECT_EQ(ConfigValueText(key, before), ConfigValueText(key, after)) << key.name;
  }
}

TEST(CheckConfig, FindsContradictions) {
  ServerConfig config;
  EXPECT_TRUE(CheckConfig(config).ok());
  config.engine.block_size = 24;
  config.engine.max_running = 64;
  config.engine.max_batched_tokens = 63;
  config.limits.default_deadline_ms = config.limits.max_deadline_ms + 1;
  config.http.port = config.server.port;
  const std::string message = CheckConfig(config).message();
  EXPECT_THAT(message, HasSubstr("engine.block_size"));
  EXPECT_THAT(message, HasSubstr("engine.max_batched_tokens"));
  EXPECT_THAT(message, HasSubstr("limits.default_deadline"));
  EXPECT_THAT(message, HasSubstr("http.port"));
}

TEST(CheckConfig, TlsFilesComeTogether) {
  ServerConfig config;
  config.server.tls_certificate = "cert.pem";
  EXPECT_THAT(CheckConfig(config).message(), HasSubstr("either needs the other"));
  config.server.tls_key = "key.pem";
  EXPECT_TRUE(CheckConfig(config).ok());
  config.server.tls_certificate.clear();
  EXPECT_FALSE(CheckConfig(config).ok());
  config.server.tls_key.clear();
  config.server.tls_client_ca = "ca.pem";
  EXPECT_THAT(CheckConfig(config).message(), HasSubstr("server.tls_client_ca"));
}

TEST(CheckConfig, TheAdminServiceStaysAtHome) {
  ServerConfig config;
  for (const char* good :
       {"", "unix:/run/inferd/admin.sock", "127.0.0.1:50052", "[::1]:0", "localhost:1"}) {
    config.admin.address = good;
    EXPECT_TRUE(CheckConfig(config).ok()) << good;
  }
  config.server.insecure_no_auth = true;  // says nothing about this one
  for (const char* bad : {"0.0.0.0:50052", "unix:", "unix:relative", "127.0.0.1", "example.org:1",
                          "127.0.0.1:70000", ":50052", "127.0.0.1:"}) {
    config.admin.address = bad;
    EXPECT_THAT(CheckConfig(config).message(), HasSubstr("admin.address")) << bad;
  }
}

TEST(CheckConfig, Collectors) {
  ServerConfig config;
  for (const char* good : {"", "localhost:4317", "http://collector.example.org:4317",
                           "https://collector.example.org:4317", "[::1]:1"}) {
    config.tracing.otlp_endpoint = good;
    EXPECT_TRUE(CheckConfig(config).ok()) << good;
  }
  for (const char* bad :
       {"collector", "https://collector", "http://collector", "http://https://c:1", "collector:0",
        "collector:65536", ":4317", "http://c:4317/v1/traces"}) {
    config.tracing.otlp_endpoint = bad;
    EXPECT_THAT(CheckConfig(config).message(), HasSubstr("tracing.otlp_endpoint")) << bad;
  }
  config.tracing.otlp_ca = "ca.pem";
  config.tracing.otlp_endpoint = "https://collector:4317";
  EXPECT_TRUE(CheckConfig(config).ok());
  config.tracing.otlp_endpoint = "collector:4317";
  EXPECT_THAT(CheckConfig(config).message(), HasSubstr("tracing.otlp_ca"));
}

TEST(CheckConfig, OpenAddressesNeedConsent) {
  for (const char* host : {"0.0.0.0", "::", "192.168.1.1", "example.org", "", "127.example.org",
                           "127.0.0.1.example.org", "128.0.0.1", "127.0.0"}) {
    ServerConfig config;
    config.server.host = host;
    EXPECT_THAT(CheckConfig(config).message(), HasSubstr("server.insecure_no_auth")) << host;
    ServerConfig open = config;
    open.server.insecure_no_auth = true;
    EXPECT_TRUE(CheckConfig(open).ok()) << host;
    ServerConfig keys = config;
    keys.server.api_keys_file = "keys.yaml";
    EXPECT_TRUE(CheckConfig(keys).ok()) << host;
    ServerConfig mutual = config;
    mutual.server.tls_certificate = "cert.pem";
    mutual.server.tls_key = "key.pem";
    EXPECT_FALSE(CheckConfig(mutual).ok()) << host;  // TLS alone asks nobody who they are
    mutual.server.tls_client_ca = "ca.pem";
    EXPECT_TRUE(CheckConfig(mutual).ok()) << host;
  }
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"}) {
    ServerConfig config;
    config.server.host = host;
    EXPECT_TRUE(CheckConfig(config).ok()) << host;
  }
  ServerConfig config;
  config.http.host = "0.0.0.0";
  config.server.api_keys_file = "keys.yaml";  // not asked for there
  EXPECT_FALSE(CheckConfig(config).ok());
  config.http.enabled = false;
  EXPECT_TRUE(CheckConfig(config).ok());
}

TEST(CheckConfig, Ranks) {
  const auto is_sound = [](const char* tp, int32_t pp) {
    ServerConfig config;
    config.parallel.tp = tp;
    config.parallel.pp = pp;
    return CheckConfig(config).ok();
  };
  for (const char* tp : {"1", "4", "2x2", "4x8", "32"}) EXPECT_TRUE(is_sound(tp, 1)) << tp;
  for (const char* tp : {"", "0", "33", "x", "2x", "x2", "2x2x2", "-1", "6x6", "two", "2 x 2"}) {
    EXPECT_FALSE(is_sound(tp, 1)) << tp;
  }
  EXPECT_TRUE(is_sound("2x2", 8));
  EXPECT_FALSE(is_sound("2x2", 9));
  EXPECT_EQ(ParseTpGrid("2x3")->rows, 2);
  EXPECT_EQ(ParseTpGrid("2x3")->columns, 3);
  EXPECT_EQ(ParseTpGrid("4")->columns, 1);
}

TEST(ConfigLoader, TakesAStatedSplitOfTheLayersOverTheStages) {
  EXPECT_TRUE(ParseLayerSplit("", 3)->empty());
  EXPECT_EQ(*ParseLayerSplit("10, 12,10", 3), (std::vector<int32_t>{10, 12, 10}));
  for (const char* wrong : {"10,12", "10,12,10,1", "10,0,10", "10,-1,10", "ten", "10,,10", ","}) {
    EXPECT_FALSE(ParseLayerSplit(wrong, 3).ok()) << wrong;
    ServerConfig config;
    config.parallel.pp = 3;
    config.parallel.layer_split = wrong;
    EXPECT_NE(CheckConfig(config).message().find("parallel.layer_split"), std::string::npos);
  }
}

}  // namespace
}  // namespace inferd
