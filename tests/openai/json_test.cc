// What is refused before anything is built, and the two ends of JSON: the cursor
// against the library, the writer against the library.
#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "openai/check_json.h"
#include "openai/json_cursor.h"
#include "openai/json_writer.h"

namespace inferd::openai {
namespace {

constexpr JsonLimits kJsonLimits;

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(CheckJsonTest, GoodBodies) {
  for (const std::string body : {R"({})",
                                 R"( {"a": [1, -2.5e3, true, null, "x\n\u00e9\ud83d\ude00"]} )"
                                 "\n",
                                 R"({"a": {"b": 1}, "c": {"b": 1}})", R"({"a": 1e-999})"}) {
    EXPECT_TRUE(CheckJson(body, kJsonLimits).ok())
        << body << CheckJson(body, kJsonLimits).ToString();
  }
}

TEST(CheckJsonTest, BadBodies) {
  const std::vector<std::string> bodies = {"",
                                           " \n",
                                           "null",
                                           "[]",
                                           "3",
                                           "\"x\"",
                                           "{",
                                           "{\"a\"",
                                           "{\"a\":}",
                                           "{\"a\":1,}",
                                           "{a:1}",
                                           "{\"a\":1} x",
                                           "{\"a\":1}{}",
                                           "{\"a\":1} // why",
                                           "/* */{}",
                                           "{'a':1}",
                                           "{\"a\":NaN}",
                                           "{\"a\":Infinity}",
                                           "{\"a\":-Infinity}",
                                           "{\"a\":1e999}",
                                           "{\"a\":01}",
                                           "{\"a\":+1}",
                                           "{\"a\":.5}",
                                           "{\"a\":1.}",
                                           "{\"a\":0x1}",
                                           "\xEF\xBB\xBF{}",
                                           std::string("\xFF\xFE{\0}\0", 6),
                                           std::string("{\0\"\0a\0", 6),
                                           "{\"a\":\"\xFF\"}",
                                           "{\"a\":\"\\ud800\"}",
                                           "{\"a\":\"\\x\"}",
                                           "{\"a\":\"\n\"}",
                                           "{\"a\":1,\"a\":2}",
                                           "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}",
                                           "{\"a\":1,\"\\u0061\":2}",
                                           std::string("{}\0", 3)};
  for (const std::string& body : bodies) {
    const Status status = CheckJson(body, kJsonLimits);
    ASSERT_FALSE(status.ok()) << body;
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    ASSERT_NE(status.detail(), nullptr);
    EXPECT_EQ(status.detail()->reason, "INVALID_JSON") << body;
    EXPECT_LT(status.message().size(), 100U);
  }
}

TEST(CheckJsonTest, DepthAndNodes) {
  const auto nested = [](int depth) {
    return "{\"a\":" + Repeat("[", depth - 1) + Repeat("]", depth - 1) + "}";
  };
  EXPECT_TRUE(CheckJson(nested(64), kJsonLimits).ok());
  EXPECT_FALSE(CheckJson(nested(65), kJsonLimits).ok());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(CheckJson("{\"a\":" + Repeat("[", 1'000'000), kJsonLimits).ok());
  EXPECT_FALSE(CheckJson(Repeat("{\"a\":", 400'000), kJsonLimits).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
  const std::string wide = "{\"a\":[" + Repeat("1,", 2000) + "1]}";
  JsonLimits few;
  few.max_nodes = 1000;
  EXPECT_TRUE(CheckJson(wide, kJsonLimits).ok());
  EXPECT_FALSE(CheckJson(wide, few).ok());
}

// Reads any value with the cursor into the library's tree.
nlohmann::json Walk(JsonCursor& in) {
  switch (in.Peek()) {
    case JsonKind::kNull:
      in.TakeRaw();
      return nullptr;
    case JsonKind::kBool:
      return in.TakeBool();
    case JsonKind::kNumber:
      return nlohmann::json::parse(in.TakeNumber());
    case JsonKind::kString:
      return in.TakeString();
    case JsonKind::kArray: {
      nlohmann::json out = nlohmann::json::array();
      in.EnterArray();
      while (in.NextItem()) out.push_back(Walk(in));
      return out;
    }
    case JsonKind::kObject: {
      nlohmann::json out = nlohmann::json::object();
      in.EnterObject();
      std::string name;
      while (in.NextName(&name)) out[name] = Walk(in);
      return out;
    }
    case JsonKind::kEnd:
      break;
  }
  return "end";
}

nlohmann::json Random(std::mt19937& rng, int depth) {
  const std::vector<std::string> texts = {"", "a\"b\\c/", "\n\t\r\b\f\x01", "é😀", ",]}:{[", "\x7F"};
  switch (rng() % (depth > 3 ? 5 : 7)) {
    case 0:
      return nullptr;
    case 1:
      return rng() % 2 == 0;
    case 2:
      return static_cast<int64_t>(rng()) - 1'000'000'000;
    case 3:
      return static_cast<double>(rng()) / 7e11;
    case 4:
      return texts[rng() % texts.size()];
    case 5: {
      nlohmann::json out = nlohmann::json::array();
      for (auto i = rng() % 5; i > 0; --i) out.push_back(Random(rng, depth + 1));
      return out;
    }
    default: {
      nlohmann::json out = nlohmann::json::object();
      for (auto i = rng() % 5; i > 0; --i) {
        out[texts[rng() % texts.size()] + std::to_string(i)] = Random(rng, depth + 1);
      }
      return out;
    }
  }
}

TEST(JsonCursorTest, ReadsWhatTheLibraryReads) {
  std::mt19937 rng(7);
  for (int i = 0; i < 2000; ++i) {
    const nlohmann::json value = {{"v", Random(rng, 0)}};
    const int indent = static_cast<int>(rng() % 3) - 1;
    const std::string text = value.dump(indent, ' ', /*ensure_ascii=*/rng() % 2 == 0);
    ASSERT_TRUE(CheckJson(text, kJsonLimits).ok()) << text;
    JsonCursor in(text);
    EXPECT_EQ(Walk(in), value) << text;
    EXPECT_EQ(in.Peek(), JsonKind::kEnd);
    JsonCursor raw(text);
    EXPECT_EQ(raw.TakeRaw(), text);
  }
}

TEST(JsonCursorTest, BadTextIsHarmless) {
  std::mt19937 rng(8);
  for (int i = 0; i < 5000; ++i) {
    std::string text = nlohmann::json({{"v", Random(rng, 0)}}).dump();
    text.resize(rng() % (text.size() + 1));
    for (auto k = rng() % 4; k > 0 && !text.empty(); --k) {
      text[rng() % text.size()] = "\"\\{}[],:u0"[rng() % 10];
    }
    JsonCursor in(text);
    for (int steps = 0; steps < 1000 && in.Peek() != JsonKind::kEnd; ++steps) {
      std::string name;
      switch (rng() % 6) {
        case 0:
          in.EnterObject();
          break;
        case 1:
          in.NextName(&name);
          break;
        case 2:
          in.EnterArray();
          break;
        case 3:
          in.NextItem();
          break;
        case 4:
          in.TakeString();
          break;
        default:
          in.TakeRaw();
      }
    }
  }
}

TEST(JsonWriterTest, ReadsBack) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "é😀\xE2\x80\xA8";
  JsonWriter out;
  out.BeginObject().Name("s").String(all).Name("e").String("").Name("a").BeginArray();
  out.Int(-9007199254740993).Float(-0.1F).Float(-9999).Bool(true).Null().BeginObject().EndObject();
  out.EndArray()
      .Name("bad")
      .String(
          "a\xFF"
          "b\xC3")
      .Name("x")
      .Raw("[1]")
      .EndObject();
  const std::string text = out.Take();
  const nlohmann::json read = nlohmann::json::parse(text);
  EXPECT_EQ(read["s"], all);
  EXPECT_EQ(read["a"][0], -9007199254740993);
  EXPECT_EQ(read["a"][1].get<float>(), -0.1F);
  EXPECT_EQ(read["bad"],
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.substr(text.find("\"e\"")),
            R"("e":"","a":[-9007199254740993,-0.1,-9999,true,null,{}],"bad":"a)"
            "\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            R"(","x":[1]})");
}

}  // namespace
}  // namespace inferd::openai
