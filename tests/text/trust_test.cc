// What a user typed never becomes a special token.
#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

size_t CountSpecial(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  return static_cast<size_t>(
      std::count_if(ids.begin(), ids.end(), [&](TokenId id) { return tokenizer.IsSpecial(id); }));
}

TEST(TrustTest, OnlyTrustedTextMatchesSpecialTokens) {
  const auto tokenizer = MustBuild(SmallByteLevel());
  ASSERT_NE(tokenizer, nullptr);
  const TokenId a = tokenizer->TokenToId("<|a|>");
  ASSERT_TRUE(tokenizer->IsSpecial(a));
  EXPECT_EQ(MustEncode(*tokenizer, {{"<|a|>", true}}), std::vector<TokenId>{a});
  const auto typed = MustEncode(*tokenizer, {{"<|a|>", false}});
  EXPECT_EQ(CountSpecial(*tokenizer, typed), 0U);
  EXPECT_EQ(tokenizer->Decode(typed, false), "<|a|>");
  // A token that is not special may be typed.
  EXPECT_EQ(MustEncode(*tokenizer, {{"<t>", false}}),
            std::vector<TokenId>{tokenizer->TokenToId("<t>")});
}

TEST(TrustTest, AMatchMayNotReachIntoUntrustedText) {
  const auto tokenizer = MustBuild(SmallByteLevel());
  ASSERT_NE(tokenizer, nullptr);
  const std::string token = "<|a|>";
  for (size_t cut = 1; cut < token.size(); ++cut) {
    for (const bool first_trusted : {false, true}) {
      const auto ids = MustEncode(
          *tokenizer, {{token.substr(0, cut), first_trusted}, {token.substr(cut), !first_trusted}});
      EXPECT_EQ(CountSpecial(*tokenizer, ids), 0U) << cut;
      EXPECT_EQ(tokenizer->Decode(ids, false), token);
    }
  }
  // Trusted pieces side by side are one text.
  EXPECT_EQ(MustEncode(*tokenizer, {{"<|", true}, {"a|>", true}}).size(), 1U);
}

TEST(TrustTest, UntrustedTextCannotSwallowATrustedToken) {
  const auto tokenizer = MustBuild(SmallByteLevel());
  ASSERT_NE(tokenizer, nullptr);
  const TokenId a = tokenizer->TokenToId("<|a|>");
  for (const std::string typed : {"<|", "<|a", "<|a|", "<|ab", "<", "<t"}) {
    const auto ids = MustEncode(*tokenizer, {{typed, false}, {"<|a|>", true}, {"b|>", false}});
    EXPECT_EQ(std::count(ids.begin(), ids.end(), a), 1) << typed;
    EXPECT_EQ(CountSpecial(*tokenizer, ids), 1U) << typed;
  }
}

// The same holds for tokens that are looked for after normalisation, which may
// have moved and merged the text.
TEST(TrustTest, SurvivesNormalisation) {
  nlohmann::json json = SmallByteLevel();
  json["normalizer"] = nlohmann::json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "NFKC"}, {"type": "Replace", "pattern": {"String": "#"}, "content": "<|"},
      {"type": "Lowercase"}]})");
  for (auto& token : json["added_tokens"]) token["normalized"] = true;
  const auto tokenizer = MustBuild(json);
  ASSERT_NE(tokenizer, nullptr);
  const TokenId a = tokenizer->TokenToId("<|a|>");
  // Full-width letters, a replacement, upper case.
  for (const std::string text : {"<|a|>", "<|A|>", "#a|>", "<|\uFF21|>", "\uFF1C\uFF5Ca|>"}) {
    EXPECT_EQ(MustEncode(*tokenizer, {{"x", false}, {text, true}, {"y", false}}).at(1), a) << text;
    EXPECT_EQ(CountSpecial(*tokenizer, MustEncode(*tokenizer, {{text, false}})), 0U) << text;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) continue;
      for (const bool first : {false, true}) {
        EXPECT_EQ(CountSpecial(*tokenizer, MustEncode(*tokenizer, {{text.substr(0, cut), first},
                                                                   {text.substr(cut), !first}})),
                  0U)
            << text << " cut at " << cut;
      }
    }
  }
}

TEST(TrustTest, RandomMixesNeverLeak) {
  const auto tokenizer = MustBuild(SmallByteLevel());
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937_64 random(3);
  const std::string_view pieces[] = {"<", "|", "a", "b", ">", "<|", "|>", "<|a|>", "<|ab|>", "<t>"};
  for (int round = 0; round < 3000; ++round) {
    std::vector<TextSegment> segments;
    size_t allowed = 0;  // special tokens that lie in one trusted run
    std::string run;
    std::string all;
    const auto close = [&] {
      allowed += CountSpecial(*tokenizer, MustEncode(*tokenizer, {{run, true}}));
      run.clear();
    };
    for (uint64_t n = random() % 6; n > 0; --n) {
      TextSegment segment;
      segment.trusted = random() % 2 == 0;
      for (uint64_t k = random() % 4; k > 0; --k)
        segment.text += pieces[random() % std::size(pieces)];
      if (segment.trusted) {
        run += segment.text;
      } else {
        close();
      }
      all += segment.text;
      segments.push_back(std::move(segment));
    }
    close();
    const auto ids = MustEncode(*tokenizer, segments);
    EXPECT_LE(CountSpecial(*tokenizer, ids), allowed) << all;
    EXPECT_EQ(tokenizer->Decode(ids, false), all);
  }
}

}  // namespace
}  // namespace inferd::text
