#include "serve_load/openai_events.h"

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace inferd::bench {
namespace {

TEST(ParseCompletionEvent, CountsATokenPerText) {
  EXPECT_EQ(ParseCompletionEvent(R"({"choices":[{"text":"ab"}]})").tokens, 1);
  EXPECT_EQ(ParseCompletionEvent(R"({"choices":[{"text":""}]})").tokens, 0);
  EXPECT_EQ(ParseCompletionEvent(R"({"choices":[]})").tokens, 0);
  EXPECT_EQ(ParseCompletionEvent(R"({"choices":[{"text":"a"},{"text":"b"}]})").tokens, 2);
}

TEST(ParseCompletionEvent, ReadsUsage) {
  const CompletionEvent event = ParseCompletionEvent(
      R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7,
          "prompt_tokens_details":{"cached_tokens":4}}})");
  EXPECT_TRUE(event.valid);
  EXPECT_EQ(event.prompt_tokens, 9);
  EXPECT_EQ(event.completion_tokens, 7);
  EXPECT_EQ(event.cached_tokens, 4);
  EXPECT_EQ(ParseCompletionEvent(R"({"choices":[]})").completion_tokens, -1);
}

TEST(ParseCompletionEvent, KnowsTheEndAndErrors) {
  EXPECT_TRUE(ParseCompletionEvent("[DONE]").done);
  EXPECT_TRUE(ParseCompletionEvent(R"({"error":{"message":"x"}})").error);
  EXPECT_FALSE(ParseCompletionEvent(R"({"error":null,"choices":[]})").error);
}

TEST(ParseCompletionEvent, RefusesWhatIsNoObjectAndIgnoresWrongTypes) {
  EXPECT_FALSE(ParseCompletionEvent("{").valid);
  EXPECT_FALSE(ParseCompletionEvent("[1]").valid);
  const CompletionEvent odd = ParseCompletionEvent(
      R"({"choices":[3,{"text":5}],"usage":{"completion_tokens":-2,"prompt_tokens":99999999999}})");
  EXPECT_TRUE(odd.valid);
  EXPECT_EQ(odd.tokens, 0);
  EXPECT_EQ(odd.completion_tokens, -1);
  EXPECT_EQ(odd.prompt_tokens, -1);
}

TEST(CompletionBody, AsksForTheWorkAsPlanned) {
  LoadOptions options;
  options.temperature = 0;
  const Work work{{5, 300, 7}, 12, (uint64_t{1} << 40) + 3, 0};
  const auto body = nlohmann::json::parse(CompletionBody(options, work));
  EXPECT_EQ(body["prompt"], nlohmann::json({5, 300, 7}));
  EXPECT_EQ(body["max_tokens"], 12);
  EXPECT_EQ(body["seed"], 3);
  EXPECT_EQ(body["top_k"], 1);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_FALSE(body.contains("model"));
  options.temperature = 1;
  EXPECT_FALSE(nlohmann::json::parse(CompletionBody(options, work)).contains("top_k"));
}

TEST(VocabSizeOf, ReadsTheModelList) {
  EXPECT_EQ(VocabSizeOf(R"({"data":[{"id":"m","meta":{"n_vocab":128256}}]})"), 128256);
  EXPECT_EQ(VocabSizeOf(R"({"data":[{"id":"m","vocab_size":300}]})"), 300);
  EXPECT_EQ(VocabSizeOf(R"({"data":[{"id":"m"}]})"), 0);
  EXPECT_EQ(VocabSizeOf(R"({"data":[]})"), 0);
  EXPECT_EQ(VocabSizeOf("nothing"), 0);
}

}  // namespace
}  // namespace inferd::bench
