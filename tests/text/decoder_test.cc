#include "text/decoder.h"

#include "inferd/text/detokenizer.h"
#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

// A SentencePiece-like tokenizer whose tokens are `tokens`, by position.
std::unique_ptr<const Tokenizer> WithDecoder(std::string_view decoder,
                                             const std::vector<std::string>& tokens) {
  nlohmann::json json = {{"version", "1.0"}, {"added_tokens", nlohmann::json::array()}};
  json["decoder"] = nlohmann::json::parse(decoder);
  json["model"] = {{"type", "BPE"}, {"merges", nlohmann::json::array()}};
  for (size_t i = 0; i < tokens.size(); ++i) json["model"]["vocab"][tokens[i]] = i;
  return MustBuild(json);
}

std::string Incremental(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  IncrementalDetokenizer detokenizer(tokenizer, /*skip_special_tokens=*/false,
                                     /*at_sequence_start=*/true);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Flush();
}

constexpr std::string_view kLlama = R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

TEST(DecoderTest, OneLeadingSpaceOfTheTextIsStripped) {
  const auto tokenizer = WithDecoder(kLlama, {"▁a", "▁", "b"});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->StripsLeadingSpace());
  const std::vector<TokenId> ids = {1, 0, 0, 2};
  EXPECT_EQ(tokenizer->Decode(ids, false), " a ab");
  EXPECT_EQ(Incremental(*tokenizer, ids), " a ab");
  EXPECT_EQ(tokenizer->TokenBytes(0), " a");
  IncrementalDetokenizer later(*tokenizer, false, /*at_sequence_start=*/false);
  EXPECT_EQ(later.Push(0), " a");
}

TEST(DecoderTest, ByteTokensComeTogether) {
  const auto tokenizer = WithDecoder(kLlama, {"<0xE4>", "<0xBD>", "<0xA0>", "x", "<0xFF>"});
  ASSERT_NE(tokenizer, nullptr);
  IncrementalDetokenizer detokenizer(*tokenizer, false, true);
  EXPECT_EQ(detokenizer.Push(0), "");
  EXPECT_EQ(detokenizer.Push(1), "");
  EXPECT_EQ(detokenizer.Push(2), "你");
  EXPECT_EQ(detokenizer.Push(0), "");
  EXPECT_EQ(detokenizer.Push(1), "");
  EXPECT_EQ(detokenizer.Push(3), "\uFFFDx");
  EXPECT_EQ(detokenizer.Push(4), "\uFFFD");
  EXPECT_EQ(detokenizer.Push(0), "");
  EXPECT_EQ(detokenizer.Flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.Flush(), "");
  // Decode leaves the incomplete end as it is.
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{3, 0, 1}, false), "x\xE4\xBD");
}

TEST(DecoderTest, MetaspaceDropsTheMarksOfTheFirstToken) {
  const auto tokenizer = WithDecoder(
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})",
      {"▁▁", "▁a"});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_FALSE(tokenizer->StripsLeadingSpace());
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{0, 1, 0}, false), " a  ");
  EXPECT_EQ(Incremental(*tokenizer, {0, 1, 0}), " a  ");
  EXPECT_EQ(Incremental(*tokenizer, {1, 1}), "a a");
}

TEST(DecoderTest, RefusesWhatDependsOnLaterTokens) {
  for (const std::string_view decoder :
       {R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 0, "stop": 1}]})",
        R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
            {"type": "Replace", "pattern": {"String": "ab"}, "content": ""}]})",
        R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})"}) {
    const nlohmann::json json = nlohmann::json::parse(decoder);
    EXPECT_FALSE(Decoder::FromJson(JsonView(json, "decoder")).ok()) << decoder;
  }
}

// Whatever the tokens, the pieces are UTF-8 and add up to the whole.
TEST(DecoderTest, IncrementalEqualsWholeForRandomTokens) {
  std::mt19937_64 random(5);
  for (const std::string& name : GoldenNames()) {
    const auto tokenizer = LoadGolden(name);
    ASSERT_NE(tokenizer, nullptr);
    for (int round = 0; round < 3000; ++round) {
      const bool skip = random() % 2 == 0;
      std::vector<TokenId> ids;
      for (uint64_t n = random() % 20; n > 0; --n) {
        // Low ids are bytes and special tokens, which are the hard ones.
        const uint64_t range = random() % 2 == 0 ? 300 : 20;
        ids.push_back(static_cast<TokenId>(
            random() % (static_cast<uint64_t>(tokenizer->vocab_size()) + 2) % (range * 10)));
        if (random() % 50 == 0) ids.back() = -1;
      }
      IncrementalDetokenizer detokenizer(*tokenizer, skip, true);
      std::string text;
      for (const TokenId id : ids) {
        const std::string piece = detokenizer.Push(id);
        ASSERT_TRUE(IsValidUtf8(piece));
        text += piece;
      }
      text += detokenizer.Flush();
      ASSERT_EQ(text, Lossy(tokenizer->Decode(ids, skip))) << name;
    }
  }
}

}  // namespace
}  // namespace inferd::text
