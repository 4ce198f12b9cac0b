// What a tokenizer.json may say, and what is refused, with which words.
#include <functional>

#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

using Json = nlohmann::json;

struct Case {
  const char* name;
  std::function<void(Json&)> edit;
  const char* message;  // part of it
};

TEST(TokenizerFileTest, RefusesWhatIsMalformed) {
  const std::vector<Case> cases = {
      {"no model", [](Json& j) { j.erase("model"); }, "tokenizer.json.model: missing"},
      {"model type", [](Json& j) { j["model"]["type"] = "Unigram"; }, "model \"Unigram\""},
      {"unknown member", [](Json& j) { j["extra"] = 1; }, "unknown member \"extra\""},
      {"unknown model member", [](Json& j) { j["model"]["x"] = 1; }, "unknown member \"x\""},
      {"version", [](Json& j) { j["version"] = "2.0"; }, "version \"2.0\""},
      {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
      {"prefix", [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; },
       "continuing_subword_prefix"},
      {"suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix"},
      {"unk", [](Json& j) { j["model"]["unk_token"] = "[U]"; }, "unk_token is not in"},
      {"unk type", [](Json& j) { j["model"]["unk_token"] = 3; }, "unk_token: must be a string"},
      {"flag type", [](Json& j) { j["model"]["fuse_unk"] = "no"; }, "must be true or false"},
      {"vocab type", [](Json& j) { j["model"]["vocab"] = Json::array(); }, "must be an object"},
      {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, "vocab: missing"},
      {"negative id", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, "the id of \"a\""},
      {"fractional id", [](Json& j) { j["model"]["vocab"]["a"] = 1.5; }, "the id of \"a\""},
      {"huge id", [](Json& j) { j["model"]["vocab"]["a"] = 1ULL << 40; }, "the id of \"a\""},
      {"duplicate id", [](Json& j) { j["model"]["vocab"]["zz"] = 5; }, "two tokens have the id 5"},
      {"no merges", [](Json& j) { j["model"].erase("merges"); }, "merges: missing"},
      {"merges type", [](Json& j) { j["model"]["merges"] = 1; }, "merges: must be an array"},
      {"merge type", [](Json& j) { j["model"]["merges"][0] = 1; },
       "merges[0]: must be a string or"},
      {"merge of three",
       [](Json& j) {
         j["model"]["merges"][1] = {"a", "b", "c"};
       },
       "merges[1]"},
      {"merge spaces", [](Json& j) { j["model"]["merges"][2] = "a b c"; }, "merges[2]"},
      {"merge absent",
       [](Json& j) {
         j["model"]["merges"][0] = {"a", "nope"};
       },
       "\"nope\" is not in the vocabulary"},
      {"merge product absent",
       [](Json& j) {
         j["model"]["merges"][0] = {"a", "b"};
       },
       "\"ab\" is not in the vocabulary"},
      {"merge empty",
       [](Json& j) {
         j["model"]["merges"][0] = {"", "b"};
       },
       "an empty token"},
      {"added type", [](Json& j) { j["added_tokens"] = "x"; }, "added_tokens: must be an array"},
      {"added content", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, "must not be empty"},
      {"added flag", [](Json& j) { j["added_tokens"][0].erase("special"); }, "special: missing"},
      {"added unknown", [](Json& j) { j["added_tokens"][0]["x"] = 1; }, "unknown member"},
      {"added id", [](Json& j) { j["added_tokens"][0]["id"] = -4; }, "id: must be an integer"},
      {"added id taken", [](Json& j) { j["added_tokens"][0]["id"] = 7; }, "id 7 is taken by"},
      {"added id twice", [](Json& j) { j["added_tokens"][0]["id"] = j["added_tokens"][1]["id"]; },
       "two added tokens have the id"},
      {"added twice",
       [](Json& j) { j["added_tokens"][0]["content"] = j["added_tokens"][1]["content"]; },
       "is added twice"},
      {"added other id", [](Json& j) { j["added_tokens"][0]["content"] = "hello"; },
       "in the model's vocabulary"},
      {"normalizer",
       [](Json& j) {
         j["normalizer"] = {{"type", "Precompiled"}};
       },
       "normalizer \"Precompiled\" is not supported"},
      {"normalizer type", [](Json& j) { j["normalizer"] = "NFC"; },
       "normalizer: must be an object"},
      {"pre-tokenizer",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
       },
       "pre-tokenizer \"BertPreTokenizer\" is not supported"},
      {"post-processor",
       [](Json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       },
       "post-processor \"BertProcessing\" is not supported"},
      {"decoder",
       [](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       "decoder \"WordPiece\" is not supported"},
      {"no decoder", [](Json& j) { j["decoder"] = nullptr; }, "decoder: missing"},
      {"split pattern",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "("}}},
                               {"behavior", "Isolated"},
                               {"invert", false}};
       },
       "regular expression"},
      {"split behavior",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"String", "a"}}},
                               {"behavior", "Sideways"},
                               {"invert", false}};
       },
       "behavior \"Sideways\""},
      {"template id",
       [](Json& j) {
         j["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": [
             {"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [], "special_tokens": {"x": {"id": "x", "ids": [99999], "tokens": ["x"]}}})");
       },
       "must be an id of the vocabulary"},
      {"template sequence",
       [](Json& j) {
         j["post_processor"] = Json::parse(
             R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})");
       },
       "does not name sequence A"},
  };
  for (const Case& c : cases) {
    Json json = SmallByteLevel();
    c.edit(json);
    const auto result = FromJson(json.dump());
    ASSERT_FALSE(result.ok()) << c.name;
    EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition) << c.name;
    EXPECT_NE(result.status().message().find(c.message), std::string::npos)
        << c.name << ": " << result.status().message();
    EXPECT_TRUE(result.status().message().starts_with("tokenizer.json")) << c.name;
  }
}

TEST(TokenizerFileTest, RefusesWhatIsNotJson) {
  for (const std::string_view text : {"", "{", "[]", "null", "{\"model\": }", "\xff", "{}"}) {
    const auto result = FromJson(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition) << text;
  }
}

TEST(TokenizerFileTest, NestingIsLimited) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseJson(nested(64), "f", 64).ok());
  const auto result = ParseJson(nested(65), "f", 64);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("nested deeper than 64"), std::string::npos);
  EXPECT_FALSE(ParseJson(nested(3'000'000), "f", 64).ok());
  // Brackets in strings do not count.
  EXPECT_TRUE(ParseJson("\"\\\"" + std::string(1000, '[') + "\"", "f", 64).ok());
}

TEST(TokenizerFileTest, LimitsHoldAtTheLimitAndNotPastIt) {
  const Json json = SmallByteLevel();
  const auto entries = static_cast<int64_t>(json["model"]["vocab"].size());
  const auto last_id = json["added_tokens"].back()["id"].get<int64_t>();
  TokenizerLimits limits;
  limits.max_vocab_entries = last_id + 1;
  EXPECT_TRUE(FromJson(json.dump(), limits).ok());
  limits.max_vocab_entries = last_id;
  EXPECT_FALSE(FromJson(json.dump(), limits).ok());
  limits.max_vocab_entries = entries - 1;
  EXPECT_FALSE(FromJson(json.dump(), limits).ok());

  limits = {};
  limits.max_token_bytes = 7;  // "Ġhello"
  EXPECT_TRUE(FromJson(json.dump(), limits).ok());
  limits.max_token_bytes = 6;
  EXPECT_FALSE(FromJson(json.dump(), limits).ok());

  limits = {};
  limits.max_text_bytes = 10;
  auto tokenizer = FromJson(json.dump(), limits);
  ASSERT_TRUE(tokenizer.ok());
  const std::vector<TextSegment> fits = {{"hello", true}, {"hello", false}};
  EXPECT_TRUE((*tokenizer)->Encode(fits, false).ok());
  const std::vector<TextSegment> too_long = {{"hello", true}, {"hello!", false}};
  const auto refused = (*tokenizer)->Encode(too_long, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);

  const std::string text = json.dump();
  TempDir directory;
  directory.Write("tokenizer.json", text);
  limits = {};
  limits.max_file_bytes = static_cast<int64_t>(text.size());
  EXPECT_TRUE(Tokenizer::Load(directory.path(), limits).ok());
  --limits.max_file_bytes;
  EXPECT_FALSE(Tokenizer::Load(directory.path(), limits).ok());
}

TEST(TokenizerFileTest, AMissingFileIsNotFound) {
  TempDir directory;
  const auto result = Tokenizer::Load(directory.path(), TokenizerLimits{});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kNotFound);
}

// As in a map that is filled in the file's order.
TEST(TokenizerFileTest, OfEqualTokensTheLastCounts) {
  const Json json = SmallByteLevel();
  std::string text = json.dump();
  const size_t vocab = text.find("\"vocab\":{") + 9;
  text.insert(vocab, R"("zz":5,"hello":7,"zz":)" + std::to_string(1 << 20) + ",\"zz\":500,");
  auto tokenizer = FromJson(text);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  EXPECT_EQ((*tokenizer)->TokenToId("zz"), 500);
  EXPECT_EQ((*tokenizer)->TokenToId("hello"), json["model"]["vocab"]["hello"].get<TokenId>());
  EXPECT_EQ((*tokenizer)->TokenBytes(500), "zz");
  EXPECT_EQ((*tokenizer)->vocab_size(), 501);
}

TEST(TokenizerFileTest, BothFormsOfMergesMeanTheSame) {
  Json strings = SmallByteLevel();
  for (auto& merge : strings["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const auto a = MustBuild(SmallByteLevel());
  const auto b = MustBuild(strings);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    const std::string text = RandomText(random, 20);
    EXPECT_EQ(MustEncode(*a, {{text, true}}), MustEncode(*b, {{text, true}}));
  }
}

TEST(TokenizerFileTest, TextThatIsNotUtf8IsRefused) {
  const auto tokenizer = MustBuild(SmallByteLevel());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view bytes :
       {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80"}) {
    const std::vector<TextSegment> segments = {{std::string(bytes), true}};
    const auto result = tokenizer->Encode(segments, false);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerFileTest, NamesAndIds) {
  TempDir directory;
  directory.Write("tokenizer.json", SmallByteLevel().dump());
  directory.Write("tokenizer_config.json",
                  R"({"bos_token": null, "eos_token": {"content": "<|ab|>"}})");
  auto loaded = Tokenizer::Load(directory.path(), TokenizerLimits{});
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  const Tokenizer& tokenizer = **loaded;
  EXPECT_EQ(tokenizer.bos_id(), -1);
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.TokenToId("<|ab|>"));
  EXPECT_EQ(tokenizer.vocab_size(), tokenizer.TokenToId("<t>") + 1);
  EXPECT_EQ(tokenizer.TokenToId("no such token"), -1);
  EXPECT_EQ(tokenizer.TokenBytes(tokenizer.TokenToId("Ġhello")), " hello");
  EXPECT_EQ(tokenizer.TokenBytes(-1), "");
  EXPECT_EQ(tokenizer.TokenBytes(tokenizer.vocab_size()), "");
  EXPECT_FALSE(tokenizer.IsSpecial(-1));
  EXPECT_FALSE(tokenizer.IsSpecial(tokenizer.vocab_size()));
}

}  // namespace
}  // namespace inferd::text
