#include "config/value_text.h"

#include "gtest/gtest.h"

namespace inferd::config {
namespace {

TEST(ValueText, DurationsParse) {
  EXPECT_EQ(*ParseDurationMs("30s"), 30'000);
  EXPECT_EQ(*ParseDurationMs("500ms"), 500);
  EXPECT_EQ(*ParseDurationMs("1.5s"), 1'500);
  EXPECT_EQ(*ParseDurationMs("10m"), 600'000);
  EXPECT_EQ(*ParseDurationMs("2h"), 7'200'000);
  EXPECT_EQ(*ParseDurationMs("0"), 0);
}

TEST(ValueText, BadDurationsAreRefused) {
  for (const char* text : {"", "30", "s", "-1s", "1d", "1s ", "1 s", "0.5ms", "1e3s", "nan s",
                           "99999999999999999999h", "inf"}) {
    EXPECT_FALSE(ParseDurationMs(text).ok()) << text;
  }
}

TEST(ValueText, SizesParse) {
  EXPECT_EQ(*ParseSizeBytes("64MiB"), 64LL << 20);
  EXPECT_EQ(*ParseSizeBytes("1.5GiB"), 3LL << 29);
  EXPECT_EQ(*ParseSizeBytes("4096"), 4096);
  EXPECT_EQ(*ParseSizeBytes("7B"), 7);
  for (const char* text : {"64MB", "64 MiB", "-1", "0.3", "MiB", "0x10"}) {
    EXPECT_FALSE(ParseSizeBytes(text).ok()) << text;
  }
}

TEST(ValueText, FormattedValuesParseBack) {
  for (int64_t value : {0LL, 1LL, 999LL, 1000LL, 60'000LL, 90'000LL, 3'600'000LL, 3'600'001LL}) {
    EXPECT_EQ(*ParseDurationMs(FormatDurationMs(value)), value);
  }
  for (int64_t value : {0LL, 1LL, 1023LL, 1024LL, 3LL << 29, (1LL << 40) + 1}) {
    EXPECT_EQ(*ParseSizeBytes(FormatSizeBytes(value)), value);
  }
  for (double value : {0.0, 0.1, 1e-6, 2560.0, 0.333333333333}) {
    EXPECT_EQ(*ParseNumber(FormatNumber(value)), value);
  }
  EXPECT_EQ(FormatDurationMs(30'000), "30s");
  EXPECT_EQ(FormatSizeBytes(8 << 20), "8MiB");
}

TEST(ValueText, IntegersNumbersAndBooleans) {
  EXPECT_EQ(*ParseInteger("-3"), -3);
  for (const char* text : {"", "3.0", "3x", " 3", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInteger(text).ok()) << text;
  }
  for (const char* text : {"nan", "inf", "", "1,5"}) EXPECT_FALSE(ParseNumber(text).ok()) << text;
  EXPECT_TRUE(*ParseBoolean("true"));
  EXPECT_FALSE(ParseBoolean("yes").ok());
}

TEST(ValueText, Lists) {
  EXPECT_TRUE(SplitList("  ").empty());
  const std::vector<std::string_view> expected{"a", "b c", ""};
  EXPECT_EQ(SplitList(" a , b c,"), expected);
}

}  // namespace
}  // namespace inferd::config
