// Every golden tokenizer against what the `tokenizers` library answers.
#include "inferd/text/detokenizer.h"
#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

struct Golden {
  std::string name;
  std::unique_ptr<const Tokenizer> tokenizer;
  nlohmann::json cases;
  // The library turns every byte of a run of byte-fallback tokens that is not
  // UTF-8 into U+FFFD, which cannot be done while the run may go on; here each
  // maximal subpart becomes one.
  bool byte_fallback = false;
};

Golden LoadCases(const std::string& name) {
  Golden golden;
  golden.name = name;
  golden.tokenizer = LoadGolden(name);
  golden.cases = nlohmann::json::parse(ReadWhole(GoldenRoot() / name / "expected.json"))["cases"];
  golden.byte_fallback =
      ReadWhole(GoldenRoot() / name / "tokenizer.json").find("\"ByteFallback\"") !=
      std::string::npos;
  EXPECT_GT(golden.cases.size(), 100U) << name;
  return golden;
}

void ExpectDecodes(const Golden& golden, const std::vector<TokenId>& ids, bool skip,
                   const std::string& expected) {
  const std::string decoded = Lossy(golden.tokenizer->Decode(ids, skip));
  const size_t replaced = expected.find(kReplacementCharacter);
  if (golden.byte_fallback && replaced != std::string::npos) {
    EXPECT_EQ(decoded.substr(0, replaced), expected.substr(0, replaced)) << golden.name;
    EXPECT_TRUE(IsValidUtf8(decoded));
  } else {
    EXPECT_EQ(decoded, expected) << golden.name;
  }
  IncrementalDetokenizer detokenizer(*golden.tokenizer, skip, /*at_sequence_start=*/true);
  std::string pieces;
  for (const TokenId id : ids) {
    const std::string piece = detokenizer.Push(id);
    EXPECT_TRUE(IsValidUtf8(piece));
    pieces += piece;
  }
  pieces += detokenizer.Flush();
  EXPECT_EQ(pieces, decoded) << golden.name;
}

TEST(GoldenTest, ThereAreTokenizers) { EXPECT_GE(GoldenNames().size(), 4U); }

TEST(GoldenTest, EncodesAsTheLibraryDoes) {
  for (const std::string& name : GoldenNames()) {
    const Golden golden = LoadCases(name);
    ASSERT_NE(golden.tokenizer, nullptr);
    for (const auto& c : golden.cases) {
      const std::string text = c["text"];
      EXPECT_EQ(MustEncode(*golden.tokenizer, {{text, /*trusted=*/true}}),
                c["ids"].get<std::vector<TokenId>>())
          << name << ": " << c["text"];
      EXPECT_EQ(MustEncode(*golden.tokenizer, {{text, /*trusted=*/true}}, true),
                c["ids_with_special"].get<std::vector<TokenId>>())
          << name << ": " << c["text"];
    }
  }
}

TEST(GoldenTest, DecodesAsTheLibraryDoes) {
  for (const std::string& name : GoldenNames()) {
    const Golden golden = LoadCases(name);
    ASSERT_NE(golden.tokenizer, nullptr);
    for (const auto& c : golden.cases) {
      const auto ids = c["ids_with_special"].get<std::vector<TokenId>>();
      ExpectDecodes(golden, ids, /*skip=*/false, c["decoded"]);
      ExpectDecodes(golden, ids, /*skip=*/true, c["decoded_skip_special"]);
      if (!c.contains("decoded_prefixes")) continue;
      auto prefix = c["ids"].get<std::vector<TokenId>>();
      for (size_t n = prefix.size() + 1; n-- > 0;) {
        prefix.resize(n);
        ExpectDecodes(golden, prefix, /*skip=*/false, c["decoded_prefixes"][n]);
      }
    }
  }
}

TEST(GoldenTest, CutsBetweenSegmentsDoNotMatter) {
  std::mt19937_64 random(7);
  for (const std::string& name : GoldenNames()) {
    const Golden golden = LoadCases(name);
    ASSERT_NE(golden.tokenizer, nullptr);
    for (const auto& c : golden.cases) {
      const std::string text = c["text"];
      std::vector<TextSegment> segments(1, {"", true});
      for (size_t i = 0; i < text.size();) {
        const size_t length = DecodeUtf8(text, i).length;
        if (random() % 4 == 0) segments.push_back({"", true});
        segments.back().text += text.substr(i, length);
        i += length;
      }
      EXPECT_EQ(MustEncode(*golden.tokenizer, segments), c["ids"].get<std::vector<TokenId>>())
          << name << ": " << c["text"];
    }
  }
}

// Text without special tokens gives the same ids whatever its origin.
TEST(GoldenTest, TrustDoesNotMatterForOrdinaryText) {
  std::mt19937_64 random(8);
  for (const std::string& name : GoldenNames()) {
    const Golden golden = LoadCases(name);
    ASSERT_NE(golden.tokenizer, nullptr);
    for (const auto& c : golden.cases) {
      const auto ids = c["ids"].get<std::vector<TokenId>>();
      if (std::any_of(ids.begin(), ids.end(),
                      [&](TokenId id) { return golden.tokenizer->IsSpecial(id); })) {
        continue;
      }
      // The special tokens' text must not be there either, in parts of other matches.
      const std::string text = c["text"];
      if (text.find('<') != std::string::npos || text.find('[') != std::string::npos) continue;
      size_t cut = text.empty() ? 0 : random() % text.size();
      while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
      EXPECT_EQ(
          MustEncode(*golden.tokenizer, {{text.substr(0, cut), true}, {text.substr(cut), false}}),
          ids)
          << name << ": " << c["text"];
    }
  }
}

TEST(GoldenTest, NoUntrustedTextBecomesASpecialToken) {
  for (const std::string& name : GoldenNames()) {
    const Golden golden = LoadCases(name);
    ASSERT_NE(golden.tokenizer, nullptr);
    for (const auto& c : golden.cases) {
      for (const TokenId id : MustEncode(*golden.tokenizer, {{c["text"], /*trusted=*/false}})) {
        if (golden.tokenizer->IsSpecial(id)) {
          // Only <unk>, which stands for text without a token.
          EXPECT_EQ(id, golden.tokenizer->TokenToId("<unk>")) << name << ": " << c["text"];
        }
      }
    }
  }
}

}  // namespace
}  // namespace inferd::text
