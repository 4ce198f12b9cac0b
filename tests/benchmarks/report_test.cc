#include "serve_load/report.h"

#include "gtest/gtest.h"
#include "inferd/base/status.h"
#include "serve_load/work.h"

namespace inferd::bench {
namespace {

TEST(RequestRecord, TokensOfOneMessageShareItsGap) {
  RequestRecord record;
  record.AddTokens(1.0, 0);
  record.AddTokens(2.0, 1);
  record.AddTokens(3.0, 2);
  EXPECT_DOUBLE_EQ(record.first_token, 2.0);
  EXPECT_EQ(record.output_tokens, 3);
  EXPECT_EQ(record.gaps, (std::vector<float>{0.5F, 0.5F}));
  EXPECT_DOUBLE_EQ(record.MeanGap(), 0.5);
}

TEST(RequestRecord, TheServersCountNeverTakesTokensAway) {
  RequestRecord record;
  record.AddTokens(2.0, 3);
  record.SetOutputTokens(5);
  EXPECT_EQ(record.output_tokens, 5);
  record.SetOutputTokens(1);
  EXPECT_EQ(record.output_tokens, 5);
  EXPECT_EQ(record.gaps.size(), 2U);
}

TEST(RequestRecord, ATokenThatTheServerOnlyCountsIsNotTheFirst) {
  RequestRecord record;
  record.due = 1.0;
  record.SetOutputTokens(1);
  record.end = 4.0;
  EXPECT_DOUBLE_EQ(record.ttft(), 3.0);
  record.AddTokens(2.0, 1);
  EXPECT_DOUBLE_EQ(record.ttft(), 1.0);
  EXPECT_EQ(record.output_tokens, 2);
  EXPECT_TRUE(record.gaps.empty());
}

TEST(Summarise, CountsAnswersErrorsAndCacheHits) {
  RunRecord run;
  run.seconds = 2;
  run.requests.resize(4);
  for (size_t i = 0; i < run.requests.size(); ++i) {
    RequestRecord& r = run.requests[i];
    r.prompt_tokens = 10;
    r.cached_tokens = 5;
    r.AddTokens(0.1 * static_cast<double>(i + 1), 1);
    r.AddTokens(1.0, 1);
    r.end = 1.5;
  }
  run.requests[3].code = static_cast<int>(StatusCode::kUnavailable);
  const Summary summary = Summarise(LoadOptions(), run);
  EXPECT_EQ(summary.answered, 3);
  EXPECT_EQ(summary.errors.at("UNAVAILABLE"), 1);
  EXPECT_DOUBLE_EQ(summary.output_tokens_per_second, 4.0);  // also of the one that failed
  EXPECT_DOUBLE_EQ(summary.input_tokens_per_second, 15.0);
  EXPECT_DOUBLE_EQ(summary.cached_share, 0.5);
  EXPECT_DOUBLE_EQ(summary.ttft_ms.p50, 200);
  EXPECT_DOUBLE_EQ(summary.ttft_ms.max, 300);
  EXPECT_NEAR(summary.tpot_ms.p50, 800, 1e-3);
  EXPECT_NEAR(summary.tpot_ms.max, 900, 1e-3);
}

TEST(PlanWork, DependsOnTheOptionsAlone) {
  LoadOptions options;
  options.concurrency = 2;
  options.requests = 5;
  options.prompt_tokens = {8, 16};
  options.shared_prefix_tokens = 6;
  const std::vector<Work> a = PlanWork(options, 1000);
  const std::vector<Work> b = PlanWork(options, 1000);
  ASSERT_EQ(a.size(), 5U);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].prompt, b[i].prompt);
    EXPECT_EQ(a[i].seed, b[i].seed);
    EXPECT_EQ(a[i].due, 0);
    ASSERT_GE(a[i].prompt.size(), 8U);
    EXPECT_LE(a[i].prompt.size(), 16U);
    for (size_t t = 0; t < a[i].prompt.size(); ++t) {
      EXPECT_GE(a[i].prompt[t], 256U);
      EXPECT_LT(a[i].prompt[t], 1000U);
      if (t < 6) {
        EXPECT_EQ(a[i].prompt[t], a[0].prompt[t]);
      }
    }
  }
  EXPECT_NE(a[0].prompt, a[1].prompt);
}

}  // namespace
}  // namespace inferd::bench
