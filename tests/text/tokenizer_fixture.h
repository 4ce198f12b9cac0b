// Small tokenizers for tests: golden ones from files and ones built in memory.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "inferd/text/tokenizer.h"
#include "inferd/text/utf8.h"
#include "nlohmann/json.hpp"
#include "support/source_dir.h"
#include "text/bpe_tokenizer.h"
#include "text/byte_level.h"

namespace inferd::text {

inline std::filesystem::path GoldenRoot() { return SourceDir() / "tests/golden/tokenizers"; }

// Names of the golden tokenizers, sorted.
inline std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenRoot())) {
    if (std::filesystem::exists(entry.path() / "tokenizer.json")) {
      names.push_back(entry.path().filename());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

inline std::unique_ptr<const Tokenizer> LoadGolden(const std::string& name) {
  auto tokenizer = Tokenizer::Load(GoldenRoot() / name, TokenizerLimits{});
  EXPECT_TRUE(tokenizer.ok()) << name << ": " << tokenizer.status().ToString();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

inline StatusOr<std::unique_ptr<const Tokenizer>> FromJson(std::string_view json,
                                                           const TokenizerLimits& limits = {}) {
  auto parts = ParseTokenizerFile(json, "tokenizer.json", limits);
  if (!parts.ok()) return std::move(parts).status();
  return BpeTokenizer::Create(*std::move(parts), limits, "", "");
}

inline std::unique_ptr<const Tokenizer> MustBuild(const nlohmann::json& json) {
  auto tokenizer = FromJson(json.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// A byte-level tokenizer: the 256 bytes, some merges, and added tokens of each
// kind: <|a|> and <|ab|> special, <t> not.
inline nlohmann::json SmallByteLevel() {
  nlohmann::json json = nlohmann::json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                      "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                "use_regex": true},
    "added_tokens": [], "model": {"type": "BPE", "dropout": null, "unk_token": null,
      "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
      "byte_fallback": false, "ignore_merges": false, "vocab": {}, "merges": []}})");
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    std::string token;
    AppendByteLevel(std::string(1, static_cast<char>(byte)), token);
    json["model"]["vocab"][token] = id++;
  }
  for (const auto& [left, right] : {std::pair{"h", "e"},
                                    {"l", "l"},
                                    {"he", "ll"},
                                    {"hell", "o"},
                                    {"Ġ", "hello"},
                                    {"a", "a"},
                                    {"aa", "aa"}}) {
    json["model"]["merges"].push_back({left, right});
    json["model"]["vocab"][std::string(left) + right] = id++;
  }
  for (const auto& [content, special] :
       {std::pair{"<|a|>", true}, {"<|ab|>", true}, {"<t>", false}}) {
    json["added_tokens"].push_back({{"id", id++},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", special}});
  }
  return json;
}

inline std::vector<TokenId> MustEncode(const Tokenizer& tokenizer,
                                       const std::vector<TextSegment>& segments,
                                       bool add_special_tokens = false) {
  auto ids = tokenizer.Encode(segments, add_special_tokens);
  EXPECT_TRUE(ids.ok()) << ids.status().ToString();
  return ids.ok() ? *std::move(ids) : std::vector<TokenId>{};
}

// Valid UTF-8 of some `length` characters, of many scripts, with much white space.
inline std::string RandomText(std::mt19937_64& random, size_t length) {
  static constexpr std::string_view kPieces[] = {
      "hello",  " ",      "  ",  "\n", "\r\n",    "\t",     "'s",         "the",
      "123",    "<|a|>",  "<t>", "é",  "e\u0301", "\u0323", "你好",       "\U0001F600",
      "\u200d", "\u00a0", "▁",   "İ",  "ﬁ",       "<s>",    "<|im_end|>", "_"};
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    const uint64_t kind = random() % 8;
    if (kind < 4) {
      text += kPieces[random() % std::size(kPieces)];
    } else if (kind < 6) {
      text += static_cast<char>(random() % 128);
    } else {
      char32_t c = static_cast<char32_t>(random() % 0x20000);
      if (c >= 0xD800 && c < 0xE000) c = 0xFFFD;
      AppendUtf8(c, text);
    }
  }
  return text;
}

inline std::string Lossy(std::string_view bytes) {
  std::string text;
  if (AppendLossyUtf8(bytes, text) > 0) text += kReplacementCharacter;
  return text;
}

// A directory that is removed again.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "inferd_text_XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  void Write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace inferd::text
