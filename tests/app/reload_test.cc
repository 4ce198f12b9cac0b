#include "app/reload.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "app/serve.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inferd::app {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr char kOneKey[] =
    "keys:\n"
    "  - id: one\n"
    "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n";

class ReloaderTest : public testing::Test {
 protected:
  ReloaderTest() {
    const std::string base = testing::TempDir() + "/inferd_reload_" + std::to_string(getpid());
    config_ = base + ".yaml";
    keys_ = base + "_keys.yaml";
    arguments_.config_file = config_;
  }
  ~ReloaderTest() override {
    std::remove(config_.c_str());
    std::remove(keys_.c_str());
  }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  // After the configuration was written as the process begins with it.
  void Begin(bool tls = false) {
    const ConfigResult result = LoadServeConfig(arguments_, environment_);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    ReloadTargets targets;
    targets.set_log_level = [this](const std::string& level) { level_ = level; };
    targets.set_api_keys = [this](std::shared_ptr<const KeyRing> keys) {
      ring_ = std::move(keys);
      ++key_changes_;
    };
    targets.set_queue_limits = [this](const QueueLimits& limits) { limits_ = limits; };
    if (tls) {
      targets.reload_tls = [this] {
        ++tls_reloads_;
        return tls_status_;
      };
    }
    reloader_ =
        std::make_unique<Reloader>(arguments_, environment_, result.loaded, std::move(targets),
                                   std::make_shared<spdlog::logger>("test"));
  }
  std::string KeysLine() const { return "server: {api_keys_file: " + keys_ + "}\n"; }

  std::string config_;
  std::string keys_;
  ServeArguments arguments_;
  std::vector<std::string> environment_;
  std::unique_ptr<Reloader> reloader_;
  std::string level_ = "untouched";
  std::shared_ptr<const KeyRing> ring_;
  QueueLimits limits_;
  int key_changes_ = 0;
  int tls_reloads_ = 0;
  Status tls_status_;
};

TEST_F(ReloaderTest, TakesOverWhatItCanAndNamesTheRest) {
  Write(config_, "log: {level: info}\n");
  Begin();
  Write(config_,
        "log: {level: debug}\ndrain: {delay: 1s, timeout: 2s, grace: 3s}\n"
        "engine: {depth: 1, max_queued_requests: 7, max_queued_tokens: 8, max_queue_time: 9s, "
        "tenant_queue_share: 0.25}\n"
        "server: {port: 1234}\n");
  const auto report = reloader_->Reload();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_THAT(report->applied,
              UnorderedElementsAre("log.level debug", "drain.delay 1s", "drain.timeout 2s",
                                   "drain.grace 3s", "engine.max_queued_requests 7",
                                   "engine.max_queued_tokens 8", "engine.max_queue_time 9s",
                                   "engine.tenant_queue_share 0.25"));
  EXPECT_EQ(limits_.max_requests, 7);
  EXPECT_EQ(limits_.max_tokens, 8);
  EXPECT_EQ(limits_.max_time_us, 9'000'000);
  EXPECT_EQ(limits_.tenant_share, 0.25);
  EXPECT_EQ(reloader_->queue_limits().max_requests, 7);
  EXPECT_THAT(report->restart_required, ElementsAre("server.port", "engine.depth"));
  EXPECT_EQ(level_, "debug");
  EXPECT_EQ(reloader_->drain().delay_ms, 1000);
  EXPECT_EQ(reloader_->drain().timeout_ms, 2000);
  EXPECT_EQ(reloader_->drain().grace_ms, 3000);
  // What needs a restart is named until then.
  EXPECT_THAT(reloader_->Reload()->applied, IsEmpty());
  EXPECT_THAT(reloader_->Reload()->restart_required, ElementsAre("server.port", "engine.depth"));
}

TEST_F(ReloaderTest, KeysComeFromTheirFile) {
  Write(config_, KeysLine());
  Write(keys_, "keys: []\n");
  Begin();
  Write(keys_, kOneKey);
  const auto report = reloader_->Reload();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->applied, ElementsAre("1 API keys"));
  ASSERT_NE(ring_, nullptr);
  EXPECT_NE(ring_->Find("one"), nullptr);
}

TEST_F(ReloaderTest, ABadFileAnywhereChangesNothing) {
  Write(config_, KeysLine() + "log: {level: info}\n");
  Write(keys_, kOneKey);
  Begin(/*tls=*/true);
  const std::string good = KeysLine() + "log: {level: debug}\n";
  Write(config_, good + "engine: {dept: 1}\n");
  EXPECT_THAT(reloader_->Reload().status().message(), HasSubstr("engine.depth"));
  Write(config_, good);
  Write(keys_, std::string(kOneKey) + "  - id: one\n");
  EXPECT_THAT(reloader_->Reload().status().message(), HasSubstr("sha256: missing"));
  EXPECT_EQ(tls_reloads_, 0);
  Write(keys_, kOneKey);
  tls_status_ = InvalidArgumentError("cert.pem: not PEM");
  EXPECT_THAT(reloader_->Reload().status().message(), HasSubstr("cert.pem"));
  EXPECT_EQ(level_, "untouched");
  EXPECT_EQ(key_changes_, 0);
  tls_status_ = OkStatus();
  const auto report = reloader_->Reload();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->applied, Contains("TLS files"));
  EXPECT_EQ(level_, "debug");
  EXPECT_EQ(key_changes_, 1);
}

TEST_F(ReloaderTest, NoReloadOpensOrClosesTheDoor) {
  Write(config_, KeysLine());
  Write(keys_, kOneKey);
  Begin();
  Write(config_, "log: {level: debug}\n");
  EXPECT_THAT(reloader_->Reload()->restart_required, ElementsAre("server.api_keys_file"));
  EXPECT_EQ(key_changes_, 0);

  Write(config_, "log: {level: info}\n");
  Begin();
  Write(config_, KeysLine());
  EXPECT_THAT(reloader_->Reload()->restart_required, ElementsAre("server.api_keys_file"));
  EXPECT_EQ(key_changes_, 0);
}

TEST_F(ReloaderTest, LogLevelUntilTheNextReload) {
  Write(config_, "log: {level: warn}\n");
  Begin();
  EXPECT_FALSE(reloader_->SetLogLevel("loud").ok());
  EXPECT_EQ(level_, "untouched");
  EXPECT_TRUE(reloader_->SetLogLevel("trace").ok());
  EXPECT_EQ(level_, "trace");
  EXPECT_TRUE(reloader_->Reload().ok());
  EXPECT_EQ(level_, "warn");
}

}  // namespace
}  // namespace inferd::app
