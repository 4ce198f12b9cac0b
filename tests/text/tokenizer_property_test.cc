// What holds for any text and any file: round trips, time, threads, no crash.
#include <ctime>
#include <thread>

#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

TEST(TokenizerPropertyTest, ByteLevelTextRoundTrips) {
  std::mt19937_64 random(21);
  for (const std::string name : {"gpt2", "llama3", "starcoder"}) {
    const auto tokenizer = LoadGolden(name);
    ASSERT_NE(tokenizer, nullptr);
    for (int round = 0; round < 1000; ++round) {
      const std::string text = RandomText(random, random() % 60);
      const auto ids = MustEncode(*tokenizer, {{text, random() % 2 == 0}});
      ASSERT_EQ(tokenizer->Decode(ids, /*skip_special_tokens=*/false), text) << name;
    }
  }
}

TEST(TokenizerPropertyTest, UntrustedTextMayBeCutAnywhere) {
  std::mt19937_64 random(22);
  for (const std::string& name : GoldenNames()) {
    const auto tokenizer = LoadGolden(name);
    ASSERT_NE(tokenizer, nullptr);
    for (int round = 0; round < 300; ++round) {
      std::vector<TextSegment> segments;
      std::string all;
      for (uint64_t n = random() % 5; n > 0; --n) {
        segments.push_back({RandomText(random, random() % 20), false});
        all += segments.back().text;
      }
      ASSERT_EQ(MustEncode(*tokenizer, segments), MustEncode(*tokenizer, {{all, false}})) << name;
    }
  }
}

// 256 KiB of anything take some ten milliseconds; a quadratic step would take
// minutes. The bound is on processor time and leaves room for sanitizers.
TEST(TokenizerPropertyTest, LongTextsTakeLinearTime) {
  constexpr size_t kBytes = 1 << 18;
  std::mt19937_64 random(23);
  const auto repeated = [](std::string_view unit) {
    std::string text;
    while (text.size() + unit.size() <= kBytes) text += unit;
    return text;
  };
  std::vector<std::string> texts;
  for (const std::string_view unit :
       {"a",          " ",  "\n",    " \n",    "ab", "\u0301",  "\u0301\u0323", "你",
        "\U0001F600", "0",  "!",     "'",      "<",  "<|",      "<|im_start|",  "<s",
        "▁",          "a ", "\t\t ", "\r\n\r", "Aa", "e\u0301 "}) {
    texts.push_back(repeated(unit));
  }
  texts.push_back(RandomText(random, kBytes / 4));
  for (const std::string& name : GoldenNames()) {
    const auto tokenizer = LoadGolden(name);
    ASSERT_NE(tokenizer, nullptr);
    for (const std::string& text : texts) {
      const bool trusted = random() % 2 == 0;
      const std::clock_t start = std::clock();
      EXPECT_FALSE(MustEncode(*tokenizer, {{text, trusted}}).empty());
      const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      EXPECT_LT(seconds, 10) << name << ": " << text.substr(0, 20);
    }
  }
}

TEST(TokenizerPropertyTest, ThreadsShareATokenizer) {
  for (const std::string& name : GoldenNames()) {
    const auto tokenizer = LoadGolden(name);
    ASSERT_NE(tokenizer, nullptr);
    std::mt19937_64 random(24);
    std::vector<std::string> texts;
    std::vector<std::vector<TokenId>> expected;
    for (int i = 0; i < 40; ++i) {
      texts.push_back(RandomText(random, 80));
      expected.push_back(MustEncode(*tokenizer, {{texts.back(), true}}));
    }
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < texts.size(); ++i) {
          const size_t at = (i + t * 7) % texts.size();
          const std::vector<TextSegment> segments = {{texts[at], true}};
          const auto ids = tokenizer->Encode(segments, false);
          wrong[t] += !ids.ok() || *ids != expected[at];
          wrong[t] += tokenizer->Decode(expected[at], false).empty();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(4, 0)) << name;
  }
}

// A file with random damage either loads, and then works on any text, or is
// refused with a status.
TEST(TokenizerPropertyTest, DamagedFilesNeverCrash) {
  std::mt19937_64 random(25);
  nlohmann::json rich = SmallByteLevel();
  rich["normalizer"] = nlohmann::json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "NFKC"}, {"type": "Strip", "strip_left": true, "strip_right": false},
      {"type": "Prepend", "prepend": "_"}, {"type": "Lowercase"},
      {"type": "Replace", "pattern": {"Regex": "x{1,3}y?"}, "content": "zz"}]})");
  rich["pre_tokenizer"] = nlohmann::json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)| ?\\p{L}+|\\s+(?!\\S)|\\s+"},
       "behavior": "MergedWithNext", "invert": false},
      {"type": "Digits", "individual_digits": true},
      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true},
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]})");
  rich["decoder"] = nlohmann::json::parse(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"Regex": "l+"}, "content": "L"}, {"type": "ByteFallback"},
      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
      {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  rich["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing", "single": [
      {"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"x": {"id": "x", "ids": [3], "tokens": ["x"]}}})");
  rich["model"]["unk_token"] = "!";
  for (auto& token : rich["added_tokens"]) {
    token["lstrip"] = true;
    token["normalized"] = random() % 2 == 0;
    token["single_word"] = random() % 2 == 0;
  }
  const std::string source = rich.dump();
  ASSERT_TRUE(FromJson(source).ok()) << FromJson(source).status().ToString();
  const std::string_view inserts[] = {"{",
                                      "}",
                                      "[",
                                      "]",
                                      "\"",
                                      ",",
                                      ":",
                                      "null",
                                      "true",
                                      "-1",
                                      "99999999999999999999",
                                      "1e308",
                                      "\\",
                                      "\\u0000",
                                      "(",
                                      "*",
                                      "+",
                                      "\xff",
                                      "é",
                                      "\"type\"",
                                      "\"Sequence\"",
                                      "{}",
                                      "0"};
  const std::string text = " x1 hello<|a|> <t>\u0301 Xy\uFB01 ▁'s  ";
  int loaded = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = source;
    // The head and tail hold the structure; the vocabulary is the long middle.
    for (uint64_t n = 1 + random() % 3; n > 0; --n) {
      const size_t at = random() % damaged.size();
      switch (random() % 5) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, 1 + random() % 8);
          break;
        case 2:
          damaged.insert(at, inserts[random() % std::size(inserts)]);
          break;
        case 3: {
          // One value in place of another.
          const size_t colon = damaged.find(':', at);
          if (colon == std::string::npos) break;
          const size_t end = damaged.find_first_of(",}]", colon);
          damaged.replace(colon + 1, end - colon - 1, inserts[random() % std::size(inserts)]);
          break;
        }
        default: {
          const size_t from = random() % damaged.size();
          damaged.insert(at, damaged.substr(from, random() % 40));
        }
      }
      if (damaged.empty()) damaged = "x";
    }
    auto tokenizer = FromJson(damaged);
    if (!tokenizer.ok()) {
      EXPECT_FALSE(tokenizer.status().message().empty());
      continue;
    }
    ++loaded;
    const std::vector<TextSegment> segments = {{text, true}, {text, false}};
    const auto ids = (*tokenizer)->Encode(segments, true);
    if (!ids.ok()) continue;
    for (const TokenId id : *ids) EXPECT_LT(id, (*tokenizer)->vocab_size());
    EXPECT_TRUE(IsValidUtf8(Lossy((*tokenizer)->Decode(*ids, true))));
  }
  EXPECT_GT(loaded, 20);
}

}  // namespace
}  // namespace inferd::text
