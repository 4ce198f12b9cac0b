#include "app/logging.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::app {
namespace {

using ::testing::HasSubstr;

std::string Format(bool json, std::string_view text) {
  const auto formatter = MakeLineFormatter(json);
  spdlog::memory_buf_t buffer;
  formatter->format(spdlog::details::log_msg("inferd", spdlog::level::info,
                                             spdlog::string_view_t(text.data(), text.size())),
                    buffer);
  return {buffer.data(), buffer.size()};
}

TEST(LineFormatter, JsonLinesParse) {
  const std::string line = Format(true, "a \"quoted\" \\ line\nwith {braces} \x1b[31m é");
  ASSERT_EQ(line.find('\n'), line.size() - 1);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["msg"], "a \"quoted\" \\ line\nwith {braces} \x1b[31m é");
  EXPECT_EQ(json["level"], "info");
  EXPECT_EQ(std::string(json["ts"]).size(), std::string("2026-01-02T03:04:05.678Z").size());
}

TEST(LineFormatter, ObjectsBecomeMembers) {
  const auto json = nlohmann::json::parse(Format(true, R"({"code":"OK", "ttft_ms":1.5})"));
  EXPECT_EQ(json["code"], "OK");
  EXPECT_EQ(json["ttft_ms"], 1.5);
  EXPECT_FALSE(json.contains("msg"));
  EXPECT_EQ(nlohmann::json::parse(Format(true, "{not json}"))["msg"], "{not json}");
  EXPECT_EQ(nlohmann::json::parse(Format(true, "{}"))["msg"], "{}");
}

TEST(LineFormatter, TextLinesCannotBeForged) {
  const std::string line = Format(false, "one\n2026-01-01T00:00:00.000Z info forged\r");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_THAT(line, HasSubstr("info one\\x0a2026"));
}

TEST(LineFormatter, LongLinesAreCut) {
  EXPECT_LT(Format(true, std::string(100'000, 'x')).size(), 4300U);
  EXPECT_LT(Format(false, std::string(100'000, '\n')).size(), 4300U);
}

TEST(Logging, WritesEverythingBeforeItEnds) {
  std::ostringstream out;
  {
    Logging logging("warn", "json", std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
    EXPECT_TRUE(logging.json());
    logging.logger()->info("hidden");
    for (int i = 0; i < 100; ++i) logging.logger()->warn("line {}", i);
    logging.SetLevel("info");
    logging.logger()->info("shown");
  }
  EXPECT_THAT(out.str(), HasSubstr("line 99"));
  EXPECT_THAT(out.str(), HasSubstr("shown"));
  EXPECT_EQ(out.str().find("hidden"), std::string::npos);
}

}  // namespace
}  // namespace inferd::app
