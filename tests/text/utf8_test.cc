#include "inferd/text/utf8.h"

#include "text/unicode.h"
#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

TEST(Utf8Test, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "a";
    AppendUtf8(c, text);
    ASSERT_TRUE(IsValidUtf8(text));
    const CodePoint decoded = DecodeUtf8(text, 1);
    ASSERT_EQ(decoded.value, c);
    ASSERT_EQ(decoded.length, text.size() - 1);
    ASSERT_EQ(PreviousUtf8(text, text.size()), 1U);
  }
}

TEST(Utf8Test, MaximalSubpartsAreReplaced) {
  // The example of Unicode 15.0, table 3-11.
  EXPECT_EQ(Lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFDA");
  // Tables 3-8 to 3-10: overlong forms, surrogates, beyond U+10FFFF.
  EXPECT_EQ(Lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(Lossy("\xED\xA0\x80\x41"), "\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(Lossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB");
}

TEST(Utf8Test, WhatPassesIsValidAndRandomBytesAreRefusedOrKept) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (uint64_t n = random() % 12; n > 0; --n) {
      bytes += static_cast<char>(random() % 3 == 0 ? random() % 128 : 128 + random() % 128);
    }
    const std::string lossy = Lossy(bytes);
    ASSERT_TRUE(IsValidUtf8(lossy));
    ASSERT_EQ(IsValidUtf8(bytes), lossy == bytes);
  }
}

TEST(UnicodeTest, NormalizationForms) {
  EXPECT_EQ(Normalize("e\u0301", NormalizationForm::kNfc), "\u00e9");
  EXPECT_EQ(Normalize("\u00e9", NormalizationForm::kNfd), "e\u0301");
  EXPECT_EQ(Normalize("\uFB01\u2460", NormalizationForm::kNfkc), "fi1");
  EXPECT_EQ(Normalize("a\u0301\u0323", NormalizationForm::kNfc), "\u1ea1\u0301");
  EXPECT_EQ(Normalize("\u1100\u1161\u11a8", NormalizationForm::kNfc), "\uac01");
  EXPECT_EQ(Normalize("\u212b", NormalizationForm::kNfc), "\u00c5");
}

// Ordering marks by exchanging neighbours would take hours here.
TEST(UnicodeTest, ManyMarksAreSortedInTime) {
  std::string text = "a";
  for (int i = 0; i < 300'000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  const std::string normal = Normalize(text, NormalizationForm::kNfc);
  EXPECT_TRUE(normal.starts_with("\u1ea1\u0323"));
  EXPECT_TRUE(normal.ends_with("\u0301\u0301"));
}

TEST(UnicodeTest, Lowercase) {
  std::string text;
  for (const char32_t c : {U'A', U'\u0130', U'\u03A3', U'\u00DF', U'\u01C5'}) {
    AppendLowercase(c, text);
  }
  EXPECT_EQ(text, "ai\u0307\u03c3\u00df\u01c6");
}

}  // namespace
}  // namespace inferd::text
