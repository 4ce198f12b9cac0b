#include "text/pre_tokenizer.h"

#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

using Strings = std::vector<std::string>;

Strings Pieces(std::string_view json, std::string text, bool at_start = true) {
  const nlohmann::json parsed = nlohmann::json::parse(json);
  auto chain = PreTokenizerChain::FromJson(JsonView(parsed, "pre_tokenizer"));
  EXPECT_TRUE(chain.ok()) << chain.status().ToString();
  if (!chain.ok()) return {};
  PieceList list;
  list.pieces.push_back({0, static_cast<uint32_t>(text.size())});
  list.text = std::move(text);
  list.at_start = at_start;
  const Status status = chain->Apply(&list);
  EXPECT_TRUE(status.ok()) << status.ToString();
  Strings pieces;
  for (const Piece& piece : list.pieces) {
    pieces.push_back(list.text.substr(piece.begin, piece.end - piece.begin));
  }
  return pieces;
}

Strings SplitAt(std::string_view behavior, bool invert, std::string text) {
  nlohmann::json json = {{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"invert", invert}};
  json["behavior"] = behavior;
  return Pieces(json.dump(), std::move(text));
}

TEST(PreTokenizerTest, SplitBehaviors) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(SplitAt("Removed", false, text), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(SplitAt("Removed", true, text), (Strings{"-", "-", "-"}));
  EXPECT_EQ(SplitAt("Isolated", false, text),
            (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(SplitAt("MergedWithPrevious", false, text),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(SplitAt("MergedWithNext", false, text), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(SplitAt("Contiguous", false, text), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(SplitAt("Isolated", false, ""), Strings{});
}

TEST(PreTokenizerTest, ByteLevel) {
  EXPECT_EQ(Pieces(R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true})",
                   "Hello  it's é\n"),
            (Strings{"ĠHello", "Ġ", "Ġit", "'s", "ĠÃ©", "Ċ"}));
  EXPECT_EQ(Pieces(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                       "use_regex": false})",
                   "a b"),
            Strings{"aĠb"});
}

TEST(PreTokenizerTest, Digits) {
  EXPECT_EQ(Pieces(R"({"type": "Digits", "individual_digits": true})", "a12½b"),
            (Strings{"a", "1", "2", "½", "b"}));
  EXPECT_EQ(Pieces(R"({"type": "Digits", "individual_digits": false})", "a12½b"),
            (Strings{"a", "12½", "b"}));
}

TEST(PreTokenizerTest, Metaspace) {
  const auto metaspace = [](std::string_view scheme, bool split) {
    return R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": ")" +
           std::string(scheme) + R"(", "split": )" + (split ? "true}" : "false}");
  };
  EXPECT_EQ(Pieces(metaspace("always", true), "a  b"), (Strings{"▁a", "▁", "▁b"}));
  EXPECT_EQ(Pieces(metaspace("always", false), " a b"), Strings{"▁a▁b"});
  EXPECT_EQ(Pieces(metaspace("never", true), "a b"), (Strings{"a", "▁b"}));
  EXPECT_EQ(Pieces(metaspace("first", true), "a b"), (Strings{"▁a", "▁b"}));
  EXPECT_EQ(Pieces(metaspace("first", true), "a b", /*at_start=*/false), (Strings{"a", "▁b"}));
}

TEST(PreTokenizerTest, WhitespaceAndPunctuation) {
  EXPECT_EQ(Pieces(R"({"type": "Whitespace"})", "Hey, you!  x_1"),
            (Strings{"Hey", ",", "you", "!", "x_1"}));
  EXPECT_EQ(Pieces(R"({"type": "WhitespaceSplit"})", "a\u00a0 b\u3000c"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(Pieces(R"({"type": "Punctuation"})", "a.b"), (Strings{"a", ".", "b"}));
}

TEST(PreTokenizerTest, SequencesNest) {
  EXPECT_EQ(Pieces(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}]},
      {"type": "Digits", "individual_digits": false}]})",
                   "ab1 c22"),
            (Strings{"ab", "1", "c", "22"}));
}

// Regular expressions mean what they mean in the format's engine.
TEST(PreTokenizerTest, RegexDialect) {
  const auto split = [](std::string_view regex, std::string text) {
    nlohmann::json json = {{"type", "Split"}, {"behavior", "Removed"}, {"invert", true}};
    json["pattern"]["Regex"] = regex;
    return Pieces(json.dump(), std::move(text));
  };
  // An interval followed by + repeats, rather than being possessive.
  EXPECT_EQ(split(R"(\p{N}{1,3}+)", "12345678"), Strings{"12345678"});
  EXPECT_EQ(split(R"(\p{N}{1,3})", "12345678"), (Strings{"123", "456", "78"}));
  EXPECT_EQ(split(R"((?:ab){1,2}+c)", "abababc"), Strings{"abababc"});
  // U+180E is no space there; U+0085 is.
  EXPECT_EQ(split(R"(\s+)", "a\u180eb\u0085c"), Strings{"\u0085"});
  EXPECT_EQ(split(R"(\S+)", "a\u180eb\u0085c"), (Strings{"a\u180eb", "c"}));
  EXPECT_EQ(split(R"((?i:'S))", "'s'S'\u017f"), (Strings{"'s", "'S", "'\u017f"}));
  EXPECT_EQ(split(R"(^.)", "ab\ncd"), (Strings{"a", "c"}));
  EXPECT_EQ(split(R"(\p{Han}+)", "a你好b"), Strings{"你好"});
  EXPECT_EQ(split(R"([^\s\p{L}]+)", "a12 b"), Strings{"12"});
  EXPECT_EQ(split(R"([]a]+)", "x]ax"), Strings{"]a"});
  for (const std::string_view refused :
       {"[a[b]]", "[a&&b]", "(?m:a)", "(?~a)", "a\\", "[a", "(", "\\p{Nope}", "(?x) a"}) {
    EXPECT_FALSE(Pattern::Regex(refused).ok()) << refused;
  }
}

// Patterns that backtrack without end are cut off, whatever the text.
TEST(PreTokenizerTest, RunawayPatternsEndInAStatus) {
  auto pattern = Pattern::Regex("(a|aa)+\\d");
  ASSERT_TRUE(pattern.ok());
  std::vector<Match> matches;
  const Status status = Pattern::Searcher(*pattern).Run(std::string(5000, 'a'), &matches);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferd::text
