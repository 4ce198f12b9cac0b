// The merge loops against the definition, written out naively.
#include "text/bpe.h"

#include <map>

#include "tokenizer_fixture.h"

namespace inferd::text {
namespace {

// A model over the letters a to e (and ü, which has no token) with random merges.
nlohmann::json RandomModel(std::mt19937_64& random, bool unknown, bool fuse, bool bytes) {
  nlohmann::json model = {{"type", "BPE"},
                          {"fuse_unk", fuse},
                          {"byte_fallback", bytes},
                          {"vocab", nlohmann::json::object()},
                          {"merges", nlohmann::json::array()}};
  std::vector<std::string> tokens = {"a", "b", "c", "d", "e"};
  if (unknown) {
    tokens.push_back("<unk>");
    model["unk_token"] = "<unk>";
  }
  if (bytes) {
    tokens.push_back("<0xC3>");
    tokens.push_back("<0xBC>");
  }
  for (const uint64_t count = 5 + random() % 40; model["merges"].size() < count;) {
    const std::string left = tokens[random() % tokens.size()];
    const std::string right = tokens[random() % tokens.size()];
    if (std::find(tokens.begin(), tokens.end(), left + right) != tokens.end()) {
      model["merges"].push_back({left, right});  // another way to a token there is
      continue;
    }
    if (left.size() + right.size() > 40) continue;
    model["merges"].push_back({left, right});
    tokens.push_back(left + right);
  }
  for (size_t id = 0; id < tokens.size(); ++id) model["vocab"][tokens[id]] = id;
  return model;
}

// `model` as that of a file.
StatusOr<BpeModel> ReadModel(const nlohmann::json& model) {
  const std::string text = nlohmann::json({{"model", model}}).dump();
  INFERD_ASSIGN_OR_RETURN(const BpeLists lists, ReadBpeLists(text, "file", 64));
  INFERD_ASSIGN_OR_RETURN(const nlohmann::json rest, ParseJson(lists.rest, "file", 64));
  return BpeModel::FromJson(JsonView(rest["model"], "model"), lists, TokenizerLimits{});
}

class NaiveBpe {
 public:
  explicit NaiveBpe(const nlohmann::json& model) : model_(model) {
    for (const auto& [token, id] : model["vocab"].items()) vocab_[token] = id;
    int rank = 0;
    for (const auto& merge : model["merges"]) {
      const std::string left = merge[0];
      const std::string right = merge[1];
      merges_[{vocab_[left], vocab_[right]}] = {rank++, vocab_[left + right]};
    }
  }

  std::vector<TokenId> Encode(std::string_view text) {
    std::vector<TokenId> ids = Symbols(text);
    while (true) {
      std::pair<int, TokenId> best = {INT32_MAX, -1};
      size_t at = 0;
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto merge = merges_.find({ids[i], ids[i + 1]});
        if (merge != merges_.end() && merge->second.first < best.first) {
          best = merge->second;
          at = i;
        }
      }
      if (best.second < 0) return ids;
      ids[at] = best.second;
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
  }

 private:
  std::vector<TokenId> Symbols(std::string_view text) {
    std::vector<TokenId> ids;
    bool due = false;
    const bool bytes = model_["byte_fallback"];
    for (size_t i = 0; i < text.size();) {
      const size_t length = DecodeUtf8(text, i).length;
      const std::string character(text.substr(i, length));
      i += length;
      if (vocab_.contains(character)) {
        if (due) ids.push_back(vocab_["<unk>"]);
        due = false;
        ids.push_back(vocab_[character]);
      } else if (bytes && character == "ü") {
        ids.push_back(vocab_["<0xC3>"]);
        ids.push_back(vocab_["<0xBC>"]);
      } else if (model_.contains("unk_token")) {
        if (due && !model_["fuse_unk"]) ids.push_back(vocab_["<unk>"]);
        due = true;
      }
    }
    if (due) ids.push_back(vocab_["<unk>"]);
    return ids;
  }

  nlohmann::json model_;
  std::map<std::string, TokenId> vocab_;
  std::map<std::pair<TokenId, TokenId>, std::pair<int, TokenId>> merges_;
};

TEST(BpeTest, AgreesWithTheDefinition) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 400; ++round) {
    const nlohmann::json json =
        RandomModel(random, random() % 2 == 0, random() % 2 == 0, random() % 2 == 0);
    auto model = ReadModel(json);
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    NaiveBpe naive(json);
    BpeModel::Scratch scratch;
    for (int i = 0; i < 20; ++i) {
      std::string text;
      const uint64_t letters = 1 + random() % 7;
      for (uint64_t n = random() % 120; n > 0; --n) {
        const uint64_t letter = random() % letters;
        text += letter < 5    ? std::string(1, static_cast<char>('a' + letter))
                : letter == 5 ? "ü"
                              : "é";
      }
      std::vector<TokenId> ids;
      model->Encode(text, &scratch, &ids);
      ASSERT_EQ(ids, naive.Encode(text)) << text << "\n" << json;
    }
  }
}

TEST(BpeTest, IgnoreMergesTakesAWholePieceFirst) {
  nlohmann::json json = nlohmann::json::parse(R"({"type": "BPE", "ignore_merges": true,
      "vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3}, "merges": ["a b"]})");
  BpeModel::Scratch scratch;
  for (const bool ignore : {true, false}) {
    json["ignore_merges"] = ignore;
    auto model = ReadModel(json);
    ASSERT_TRUE(model.ok());
    std::vector<TokenId> ids;
    model->Encode("aba", &scratch, &ids);
    EXPECT_EQ(ids, ignore ? std::vector<TokenId>{3} : (std::vector<TokenId>{2, 0}));
  }
}

TEST(BpeTest, ALongRunIsMergedInPieces) {
  const nlohmann::json json = nlohmann::json::parse(R"({"type": "BPE",
      "vocab": {"a": 0, "aa": 1, "aaaa": 2}, "merges": ["a a", "aa aa"]})");
  auto model = ReadModel(json);
  ASSERT_TRUE(model.ok());
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  model->Encode(std::string((1 << 20) + 3, 'a'), &scratch, &ids);
  EXPECT_EQ(ids.size(), (1U << 18) + 2);
  EXPECT_EQ(ids.back(), 0);
}

}  // namespace
}  // namespace inferd::text
