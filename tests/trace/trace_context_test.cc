#include "inferd/trace/trace_context.h"

#include <set>

#include "gtest/gtest.h"

namespace inferd {
namespace {

constexpr char kGood[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContext, ReadsTheHeader) {
  const auto context = ParseTraceparent(kGood);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(context->parent_span_id, "b7ad6b7169203331");
  EXPECT_TRUE(context->sampled);
  std::string off = kGood;
  off.back() = '2';
  EXPECT_FALSE(ParseTraceparent(off)->sampled);
  off.back() = 'b';
  EXPECT_TRUE(ParseTraceparent(off)->sampled);
  // Later versions may go on behind the flags.
  const std::string later = std::string("01").append(kGood + 2).append("-more");
  EXPECT_TRUE(ParseTraceparent(later).has_value());
}

TEST(TraceContext, RefusesEverythingElse) {
  const std::string good = kGood;
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ParseTraceparent(good.substr(0, length)).has_value()) << length;
  }
  EXPECT_FALSE(ParseTraceparent(good + "-more").has_value());
  EXPECT_FALSE(ParseTraceparent("01" + good.substr(2) + "x").has_value());
  EXPECT_FALSE(ParseTraceparent("ff" + good.substr(2)).has_value());
  for (size_t i = 0; i < good.size(); ++i) {
    for (const char c : {'g', 'A', ' ', '\0'}) {
      std::string bad = good;
      bad[i] = c;
      EXPECT_FALSE(ParseTraceparent(bad).has_value()) << bad;
    }
  }
  EXPECT_FALSE(ParseTraceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
  EXPECT_FALSE(ParseTraceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"));
}

TEST(TraceContext, TheCallerDecidesAndTheRatioOtherwise) {
  SystemEntropy entropy;
  EXPECT_TRUE(ReadTraceContext(kGood, 0.0, entropy).sampled);
  std::string off = kGood;
  off.back() = '0';
  EXPECT_FALSE(ReadTraceContext(off, 1.0, entropy).sampled);
  EXPECT_EQ(ReadTraceContext(off, 1.0, entropy).trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(ReadTraceContext("nonsense", 0.0, entropy).trace_id, "");
  std::set<std::string> ids;
  int sampled = 0;
  for (int i = 0; i < 4000; ++i) {
    const TraceContext context = ReadTraceContext("", 0.25, entropy);
    sampled += context.sampled ? 1 : 0;
    EXPECT_EQ(context.sampled, !context.trace_id.empty());
    if (context.sampled) ids.insert(context.trace_id);
  }
  EXPECT_EQ(ids.size(), static_cast<size_t>(sampled));
  EXPECT_GT(sampled, 800);
  EXPECT_LT(sampled, 1200);
  EXPECT_EQ(NewSpanId(entropy).size(), 16U);
}

}  // namespace
}  // namespace inferd
