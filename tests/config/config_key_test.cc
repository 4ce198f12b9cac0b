#include "inferd/config/config_key.h"

#include <cctype>
#include <fstream>
#include <iterator>
#include <set>

#include "gtest/gtest.h"
#include "support/source_dir.h"

namespace inferd {
namespace {

TEST(ConfigKeys, NamesAndFlagsAreUnique) {
  std::set<std::string_view> seen;
  for (const ConfigKey& key : ConfigKeys()) {
    EXPECT_TRUE(seen.insert(key.name).second) << key.name;
    EXPECT_NE(key.name.find('.'), std::string_view::npos) << key.name;
    EXPECT_FALSE(key.doc.empty()) << key.name;
    if (!key.flag.empty()) {
      EXPECT_TRUE(seen.insert(key.flag).second) << key.flag;
    }
  }
}

TEST(ConfigKeys, SectionsAreContiguous) {
  std::set<std::string_view> finished;
  std::string_view section;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.section() == section) continue;
    finished.insert(section);
    section = key.section();
    EXPECT_EQ(finished.count(section), 0U) << section;
  }
}

// Each key has a field of its own, and its default is within its own range.
TEST(ConfigKeys, DefaultsAreValidAndFieldsDistinct) {
  std::set<const void*> fields;
  ServerConfig config;
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string text = ConfigValueText(key, config);
    ServerConfig copy;
    const Status status = SetConfigValue(key, text, copy);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(ConfigValueText(key, copy), text);
    const void* address =
        std::visit([&](auto field) -> const void* { return &field(config); }, key.field);
    EXPECT_TRUE(fields.insert(address).second) << key.name;
  }
}

TEST(ConfigKeys, EnvironmentNames) {
  EXPECT_EQ(EnvironmentName(*FindConfigKey("engine.max_running")), "INFERD_ENGINE__MAX_RUNNING");
  EXPECT_EQ(EnvironmentName(*FindConfigKey("kv_cache.size")), "INFERD_KV_CACHE__SIZE");
}

TEST(ConfigKeys, NearestNames) {
  EXPECT_EQ(NearestConfigKey("engine.max_runing").name, "engine.max_running");
  EXPECT_EQ(NearestConfigKey("modle.path").name, "model.path");
  EXPECT_EQ(NearestConfigKey("server.prot").name, "server.port");
}

TEST(SetConfigValue, EnforcesRanges) {
  ServerConfig config;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.type != ConfigType::kInteger) continue;
    const auto low = static_cast<int64_t>(key.min);
    const auto high = static_cast<int64_t>(key.max);
    EXPECT_TRUE(SetConfigValue(key, std::to_string(low), config).ok()) << key.name;
    EXPECT_TRUE(SetConfigValue(key, std::to_string(high), config).ok()) << key.name;
    EXPECT_FALSE(SetConfigValue(key, std::to_string(low - 1), config).ok()) << key.name;
    EXPECT_FALSE(SetConfigValue(key, std::to_string(high + 1), config).ok()) << key.name;
    EXPECT_FALSE(SetConfigValue(key, "9223372036854775807", config).ok()) << key.name;
    EXPECT_EQ(ConfigValueText(key, config), std::to_string(high)) << "changed on error";
  }
}

TEST(SetConfigValue, MessagesNameTheKey) {
  ServerConfig config;
  EXPECT_EQ(SetConfigValue(*FindConfigKey("server.port"), "65536", config).message(),
            "server.port: must be between 0 and 65535");
  EXPECT_EQ(SetConfigValue(*FindConfigKey("log.level"), "loud", config).message(),
            "log.level: must be one of trace|debug|info|warn|error|off");
  EXPECT_EQ(SetConfigValue(*FindConfigKey("drain.delay"), "2h", config).message(),
            "drain.delay: must be between 0 and 1h");
  EXPECT_FALSE(SetConfigValue(*FindConfigKey("log.level"), "warn|error", config).ok());
  EXPECT_FALSE(SetConfigValue(*FindConfigKey("model.path"), "a\nb", config).ok());
}

TEST(SetConfigValue, Lists) {
  ServerConfig config;
  EXPECT_TRUE(SetConfigValue(*FindConfigKey("model.aliases"), "a, b", config).ok());
  EXPECT_EQ(config.model.aliases, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(SetConfigValue(*FindConfigKey("model.aliases"), "a,,b", config).ok());
  const ConfigKey& buckets = *FindConfigKey("metrics.ttft_buckets");
  EXPECT_TRUE(SetConfigValue(buckets, "0.1, 0.2, 5", config).ok());
  EXPECT_EQ(config.metrics.ttft_buckets, (std::vector<double>{0.1, 0.2, 5}));
  EXPECT_FALSE(SetConfigValue(buckets, "0.2, 0.1", config).ok());
  EXPECT_FALSE(SetConfigValue(buckets, "0, 1", config).ok());
  std::string many = "1";
  for (int i = 2; i <= 65; ++i) many += "," + std::to_string(i);
  EXPECT_FALSE(SetConfigValue(buckets, many, config).ok());
}

TEST(ConfigReference, DocumentIsUpToDate) {
  std::ifstream file(SourceDir().string() + "/docs/configuration.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, ConfigReferenceMarkdown())
      << "run: inferd config-reference > docs/configuration.md";
}

}  // namespace
}  // namespace inferd
