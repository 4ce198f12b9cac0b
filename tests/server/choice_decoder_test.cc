#include "server/choice_decoder.h"

#include "fakes.h"
#include "gtest/gtest.h"

namespace inferd {
namespace {

// Everything a decoder gave, put together, with each token's text position.
struct Decoded {
  std::string text;
  std::vector<TokenId> tokens;
  int32_t num_tokens = 0;
  std::vector<std::string> deltas;
  ChoiceEnd end = ChoiceEnd::kNone;
  std::optional<std::string> matched_stop;
  TokenId matched_token = -1;
};

void Drain(ChoiceDecoder& decoder, Decoded* out) {
  while (auto delta = decoder.Take()) {
    out->text += delta->text;
    out->deltas.push_back(delta->text);
    out->num_tokens += delta->num_tokens;
    for (const TokenPiece& piece : delta->pieces) out->tokens.push_back(piece.token);
    if (delta->end == ChoiceEnd::kNone) continue;
    out->end = delta->end;
    out->matched_stop = delta->matched_stop;
    out->matched_token = delta->matched_token;
  }
}

Decoded DecodeAll(const DecodeOptions& options, std::vector<TokenEvent> events) {
  const ByteTokenizer tokenizer;
  ChoiceDecoder decoder(0, tokenizer, options);
  Decoded result;
  for (TokenEvent& event : events) {
    if (decoder.finished()) break;
    decoder.Push(std::move(event));
    Drain(decoder, &result);
  }
  return result;
}

DecodeOptions Pieces() {
  DecodeOptions options;
  options.keep_pieces = true;
  return options;
}

TEST(ChoiceDecoderTest, PassesTextAndHidesTheStopToken) {
  const Decoded r = DecodeAll(Pieces(), TextEvents(1, "abc", FinishReason::kStopToken));
  EXPECT_EQ(r.text, "abc");
  EXPECT_EQ(r.end, ChoiceEnd::kStop);
  EXPECT_EQ(r.matched_token, ByteTokenizer::kEos);
  EXPECT_EQ(r.num_tokens, 4);  // the stop token counts
  EXPECT_EQ(r.tokens.size(), 4U);
}

TEST(ChoiceDecoderTest, ShowsTheStopTokenWhenSpecialTokensAreShown) {
  DecodeOptions options;
  options.skip_special_tokens = false;
  EXPECT_EQ(DecodeAll(options, TextEvents(1, "a", FinishReason::kStopToken)).text, "a<eos>");
}

TEST(ChoiceDecoderTest, OrdinaryStopTokenIsShownOnlyOnDemand) {
  std::vector<TokenEvent> events = {Token(1, 'a'), End(1, FinishReason::kStopToken, '.')};
  EXPECT_EQ(DecodeAll({}, events).text, "a");
  DecodeOptions options;
  options.include_stop_in_output = true;
  EXPECT_EQ(DecodeAll(options, events).text, "a.");
}

TEST(ChoiceDecoderTest, HoldsBackUnfinishedUtf8AndItsTokens) {
  const std::string euro = "\xE2\x82\xAC";
  const ByteTokenizer tokenizer;
  ChoiceDecoder decoder(0, tokenizer, Pieces());
  decoder.Push(Token(1, 0xE2));
  EXPECT_FALSE(decoder.Take().has_value());
  decoder.Push(Token(1, 0x82));
  EXPECT_FALSE(decoder.Take().has_value());
  decoder.Push(Token(1, 0xAC));
  const auto delta = decoder.Take();
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->text, euro);
  EXPECT_EQ(delta->pieces.size(), 3U);
}

TEST(ChoiceDecoderTest, UnfinishedUtf8AtTheEndIsReplaced) {
  const Decoded r = DecodeAll(Pieces(), TextEvents(1, "a\xE2\x82", FinishReason::kLength));
  EXPECT_EQ(r.text, "a\xEF\xBF\xBD");
  EXPECT_EQ(r.num_tokens, 3);
  EXPECT_EQ(r.end, ChoiceEnd::kLength);
}

TEST(ChoiceDecoderTest, FindsAStopStringSplitOverTokens) {
  DecodeOptions options = Pieces();
  options.stop_strings = {"zzz", "END"};
  const Decoded r =
      DecodeAll(options, TextEvents(1, "one EN two END three", FinishReason::kLength));
  EXPECT_EQ(r.text, "one EN two ");
  EXPECT_EQ(r.end, ChoiceEnd::kStop);
  EXPECT_EQ(r.matched_stop, "END");
  EXPECT_EQ(r.num_tokens, 14);  // the stop string's tokens count
}

TEST(ChoiceDecoderTest, LooksForStopStringsOnlyAfterTheLeastTokens) {
  DecodeOptions options = Pieces();
  options.stop_strings = {"EN"};
  options.min_tokens = 3;  // the first EN lies within
  const Decoded r = DecodeAll(options, TextEvents(1, "ENaENb", FinishReason::kStopToken));
  EXPECT_EQ(r.text, "ENa");
  EXPECT_EQ(r.matched_stop, "EN");
  EXPECT_EQ(r.num_tokens, 5);
  options.min_tokens = 4;  // and here the second begins within
  EXPECT_EQ(DecodeAll(options, TextEvents(1, "ENaENb", FinishReason::kStopToken)).text, "ENaENb");
}

TEST(ChoiceDecoderTest, MayIncludeTheStopString) {
  DecodeOptions options;
  options.stop_strings = {"END"};
  options.include_stop_in_output = true;
  EXPECT_EQ(DecodeAll(options, TextEvents(1, "a END b", FinishReason::kLength)).text, "a END");
}

TEST(ChoiceDecoderTest, HeldTextComesOutAtTheEnd) {
  DecodeOptions options = Pieces();
  options.stop_strings = {"END"};
  const Decoded r = DecodeAll(options, TextEvents(1, "aEN", FinishReason::kStopToken));
  EXPECT_EQ(r.text, "aEN");
  EXPECT_FALSE(r.matched_stop.has_value());
  EXPECT_EQ(r.num_tokens, 4);
}

TEST(ChoiceDecoderTest, TokensComeWithTheDeltaOfTheirText) {
  DecodeOptions options = Pieces();
  options.stop_strings = {"END"};
  const ByteTokenizer tokenizer;
  ChoiceDecoder decoder(0, tokenizer, options);
  for (const char c : std::string("xEN")) decoder.Push(Token(1, c));
  auto delta = decoder.Take();
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->text, "x");
  ASSERT_EQ(delta->pieces.size(), 1U);
  EXPECT_EQ(delta->pieces[0].token, 'x');
  decoder.Push(Token(1, '!'));
  delta = decoder.Take();
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->text, "EN!");
  EXPECT_EQ(delta->pieces.size(), 3U);
}

TEST(ChoiceDecoderTest, IntervalGathersTokensAfterTheFirst) {
  DecodeOptions options;
  options.tokens_per_delta = 3;
  const Decoded r = DecodeAll(options, TextEvents(1, "abcdefgh", FinishReason::kLength));
  EXPECT_EQ(r.deltas, (std::vector<std::string>{"a", "bcd", "efg", "h", ""}));
}

TEST(ChoiceDecoderTest, SkippedSpecialTokensCountWithoutText) {
  const Decoded r = DecodeAll(
      Pieces(), {Token(1, ByteTokenizer::kBos), Token(1, 'a'), End(1, FinishReason::kLength)});
  EXPECT_EQ(r.text, "a");
  EXPECT_EQ(r.num_tokens, 2);
}

TEST(ChoiceDecoderTest, EmptyAnswerStillEnds) {
  const Decoded r = DecodeAll({}, {End(1, FinishReason::kStopToken, ByteTokenizer::kEos)});
  EXPECT_EQ(r.text, "");
  EXPECT_EQ(r.end, ChoiceEnd::kStop);
  EXPECT_EQ(r.num_tokens, 1);
}

}  // namespace
}  // namespace inferd
