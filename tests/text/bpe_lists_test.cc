// Vocabulary and merges read without a tree, against the tree.
#include "text/bpe_lists.h"

#include <array>
#include <random>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "text/json_view.h"

namespace inferd::text {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 8;
constexpr std::string_view kSource = R"( {"version": "1.0", "model": {"type": "BPE", "vocab":
  {"a": 0, "\u00e9\n": 1, "é": 2, "\ud83D\uDE00x\\": 30, "\"": 4}, "dropout":null, "merges": [
  "a é", ["a", "\"b"] , ["é", "x"], "\u0000 \/"]} , "added_tokens": [{"id": 4, "x": [1.5e3]}]})";

// What else than an id or a merge stands in a list is null, as in WithLists.
void Normalise(Json* tree) {
  if (!tree->is_object() || !tree->contains("model") || !(*tree)["model"].is_object()) return;
  Json& model = (*tree)["model"];
  if (model.contains("vocab") && model["vocab"].is_object()) {
    for (auto& [token, id] : model["vocab"].items()) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= 1'000'000'000'000'000'000U) {
        id = nullptr;
      }
    }
  }
  if (model.contains("merges") && model["merges"].is_array()) {
    for (Json& merge : model["merges"]) {
      const bool pair =
          merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
      if (!pair && !merge.is_string()) merge = nullptr;
    }
  }
}

// The lists where they were taken out.
Json WithLists(Json rest, const BpeLists& lists) {
  if (!rest.is_object() || !rest.contains("model") || !rest["model"].is_object()) return rest;
  Json& model = rest["model"];
  if (model.contains("vocab") && model["vocab"].is_object()) {
    EXPECT_TRUE(model["vocab"].empty());
    for (const auto& [token, id] : lists.vocab) {
      model["vocab"][std::string(token)] = id < 0 ? Json() : Json(static_cast<uint64_t>(id));
    }
  }
  if (model.contains("merges") && model["merges"].is_array()) {
    EXPECT_TRUE(model["merges"].empty());
    for (const auto& [left, right] : lists.merges) {
      if (left.data() == nullptr) {
        model["merges"].push_back(nullptr);
      } else if (right.data() == nullptr) {
        model["merges"].push_back(std::string(left));
      } else {
        model["merges"].push_back({std::string(left), std::string(right)});
      }
    }
  }
  return rest;
}

// Returns whether the text is valid.
bool AgreesWithTheTree(const std::string& text) {
  StatusOr<Json> tree = ParseJson(text, "file", kMaxDepth);
  StatusOr<BpeLists> lists = ReadBpeLists(text, "file", kMaxDepth);
  const StatusOr<Json> rest =
      lists.ok() ? ParseJson(lists->rest, "file", kMaxDepth) : StatusOr<Json>(lists.status());
  EXPECT_EQ(rest.status().ToString(), tree.status().ToString()) << text;
  if (!tree.ok() || !rest.ok()) return false;
  Normalise(&*tree);
  EXPECT_EQ(WithLists(*rest, *lists), *tree) << text;
  return true;
}

TEST(BpeListsTest, AreThoseOfTheTree) {
  EXPECT_TRUE(AgreesWithTheTree(std::string(kSource)));
  const StatusOr<BpeLists> lists = ReadBpeLists(kSource, "file", kMaxDepth);
  ASSERT_TRUE(lists.ok());
  EXPECT_EQ(lists->vocab.size(), 5U);
  EXPECT_EQ(lists->vocab[1].content, "é\n");
  EXPECT_EQ(lists->vocab[3].content, "\U0001F600x\\");
  EXPECT_EQ(lists->merges.size(), 4U);
  EXPECT_EQ(lists->merges[3].left, std::string_view("\0 /", 3));
}

TEST(BpeListsTest, OddTextsAreJudgedAsByTheTree) {
  const auto model = [](std::string_view members) {
    return R"({"model": {)" + std::string(members) + "}}";
  };
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("\xEF\xBB\xBF") + std::string(kSource),
        std::string(kSource) + std::string(1, '\0') + "x", std::string(kSource) + "}",
        // The last of members and tokens of one name counts.
        model(R"("vocab": {"a": 0}, "vocab": {"b": 1}, "merges": ["a"], "merges": [])"),
        model(R"("vocab": {"a": 0, "a": 2, "\u0061": 3})"),
        model(R"("vocab": {"a": 0}, "vocab": 1)"),
        std::string(R"({"model": {"vocab": {"a": 0}}, "model": {"merges": ["a b"]}})"),
        std::string(R"({"model": {"vocab": {"a": 0}}, "model": 3})"),
        std::string(R"({"vocab": {"a": 0}, "model": {"model": {"vocab": {"b": [1]}}}})"),
        std::string(R"({"mod\u0065l": {"v\u006fcab": {"a": 0}, "merges": [ ] }})"),
        // Other values than ids and merges, and what is no JSON.
        model(R"("vocab": {"a": -0, "b": 1.0, "c": 1e2, "d": [{"x": "]"}], "e": "0", "f": true})"),
        model(R"("vocab": {"a": 999999999999999999, "b": 1000000000000000000})"),
        model(R"("vocab": {"a": 9999999999999999999, "b": 99999999999999999999})"),
        model(R"("vocab": {"a": 01})"), model(R"("vocab": {"a": 0,})"),
        model(R"("vocab": {"a" 0})"), model(R"("vocab": {"a": 0 "b": 1})"),
        model(R"("vocab": {"a": 0x})"), model(R"("vocab": {"a": [1, }]})"),
        model(R"("vocab": {a: 0})"), model(R"("vocab": {,})"),
        model(R"("merges": [["a"], ["a", "b", "c"], ["a", 1], [], 1, {"a": []}, null])"),
        model(R"("merges": ["a" "b"])"), model(R"("merges": [["a", "b"})"),
        model(R"("merges": [,])"), model(R"("merges": ["\ud800"])"),
        model(R"("merges": ["\udc00"])"), model(R"("merges": ["\ud800\u0041"])"),
        model(R"("merges": ["\u12g4", "\x"])"), model("\"merges\": [\"\xff\"]"),
        model("\"merges\": [\"\xc3\\u00a9\"]"), model("\"merges\": [\"a\nb\"]"),
        model("\"merges\": [\"\\n\xed\xa0\x80\"]"),
        // Eight brackets, and nine.
        model(R"("merges": [[[[[[]]]]]])"), model(R"("merges": [[[[[[[]]]]]]])"),
        model(R"("vocab": {"a": [[[[[]]]]]})"), model(R"("vocab": {"a": [[[[[[]]]]]]})")}) {
    AgreesWithTheTree(text);
  }
}

TEST(BpeListsTest, DamagedTextsAreJudgedAsByTheTree) {
  constexpr std::string_view kInserts[] = {
      "{",     "}",      "[",    "]",         "\"",     ",",           ":",
      "\\",    "\\u00e", "\\n",  "\\ud800",   " ",      "\"vocab\":",  "\"model\":",
      "0",     "-",      "1e5",  "\xc3",      "null",   "\"merges\":", "{\"a\":1},",
      "[[[[[", "]]]]]",  "\x01", "\"x\":{},", "[\"a\"", "\"b\"],",     "\"vocab\":{\"a\":7},"};
  std::mt19937_64 random(31);
  int valid = 0;
  for (int round = 0; round < 30000; ++round) {
    std::string text(kSource);
    for (uint64_t n = 1 + random() % 3; n > 0; --n) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 6);
          break;
        case 2:
          text.insert(at, kInserts[random() % std::size(kInserts)]);
          break;
        default: {
          const size_t from = random() % text.size();
          text.insert(at, text.substr(from, random() % 40));
        }
      }
    }
    valid += AgreesWithTheTree(text) ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(valid, 1000);
}

}  // namespace
}  // namespace inferd::text
