#include "app/serve.h"

#include "app/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/source_dir.h"

namespace inferd::app {
namespace {

using ::testing::HasSubstr;

TEST(LoadServeConfig, ShippedFileWithOverrides) {
  ServeArguments arguments;
  arguments.config_file = SourceDir().string() + "/configs/inferd.yaml";
  arguments.flags = {{"engine.depth", "1", "--depth"}};
  const ConfigResult result =
      LoadServeConfig(arguments, {"INFERD_ENGINE__DEPTH=4", "INFERD_LOG__LEVEL=debug"});
  EXPECT_EQ(result.exit_code, kExitOk) << result.errors;
  EXPECT_EQ(result.loaded.config.engine.depth, 1);
  EXPECT_EQ(result.loaded.config.log.level, "debug");
}

TEST(LoadServeConfig, ExitCodes) {
  ServeArguments bad_flag;
  bad_flag.flags = {{"engine.depth", "0", "--depth"}};
  EXPECT_EQ(LoadServeConfig(bad_flag, {}).exit_code, kExitUsage);
  EXPECT_THAT(LoadServeConfig(bad_flag, {}).errors,
              HasSubstr("--depth: engine.depth: must be between 1 and 8"));

  ServeArguments missing_file;
  missing_file.config_file = "/nowhere.yaml";
  EXPECT_EQ(LoadServeConfig(missing_file, {}).exit_code, kExitConfig);

  EXPECT_EQ(LoadServeConfig({}, {"INFERD_ENGINE__DEPTH=0"}).exit_code, kExitConfig);
  EXPECT_EQ(LoadServeConfig({}, {"INFERD_ENGINE__DEPHT=1"}).exit_code, kExitConfig);

  ServeArguments contradiction;
  contradiction.flags = {{"server.host", "0.0.0.0", "--host"}};
  EXPECT_EQ(LoadServeConfig(contradiction, {}).exit_code, kExitConfig);
}

TEST(RunServe, NeedsAModel) {
  EXPECT_EQ(RunServe({}, {}), kExitConfig);
  ServeArguments arguments;
  arguments.mode = ServeMode::kPrintConfig;
  EXPECT_EQ(RunServe(arguments, {}), kExitOk);
  arguments.mode = ServeMode::kDryRun;
  arguments.flags = {{"model.path", "/nowhere", "--model"}};
  EXPECT_EQ(RunServe(arguments, {}), kExitFailure);
}

}  // namespace
}  // namespace inferd::app
