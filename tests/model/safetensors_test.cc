#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tiny_checkpoint.h"

namespace inferd {
namespace {

using ::testing::HasSubstr;
using testing::WrapHeader;

StatusOr<std::vector<model::StoredTensor>> Read(const std::string& file) {
  return model::ReadSafetensorsHeader(std::as_bytes(std::span(file)), "x.safetensors");
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

const std::string kA = Entry("a", "F32", "[2]", "[0,8]");

TEST(SafetensorsTest, ReadsInOrderOfTheData) {
  const std::string file =
      WrapHeader("{\"__metadata__\":{\"format\":\"pt\"}," + Entry("b", "BF16", "[2,2]", "[8,16]") +
                     "," + kA + "," + Entry("empty", "F32", "[0,7]", "[16,16]") + "}   ",
                 std::string(16, 'x'));
  const auto tensors = Read(file);
  ASSERT_TRUE(tensors.ok()) << tensors.status().ToString();
  ASSERT_EQ(tensors->size(), 3U);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[1].dtype, "BF16");
  EXPECT_EQ((*tensors)[1].end, file.size());
  EXPECT_EQ((*tensors)[1].end - (*tensors)[1].begin, 8U);
}

TEST(SafetensorsTest, RefusesEveryLie) {
  const std::string data(8, 'x');
  const auto one = [&](const std::string& entry) { return WrapHeader("{" + entry + "}", data); };
  const auto lying_length = [&](uint64_t length) {
    std::string file = one(kA);
    for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>((length >> (8 * i)) & 0xff);
    return file;
  };
  std::string many = "{";
  for (int i = 0; i < 70000; ++i) {
    many += (i > 0 ? "," : "") + Entry(std::to_string(i), "F32", "[0]", "[0,0]");
  }
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "too short"},
      {"x", "too short"},
      {"1234567", "too short"},
      {lying_length(0), "empty"},
      {lying_length(1), "empty"},
      {lying_length(one(kA).size()), "beyond the end"},
      {lying_length(one(kA).size() - 7), "beyond the end"},
      {lying_length(uint64_t{16} << 20), "beyond the end"},
      {lying_length((uint64_t{16} << 20) + 1), "longer than 16 MiB"},
      {lying_length(uint64_t{1} << 63), "longer than 16 MiB"},
      {lying_length(~uint64_t{0}), "longer than 16 MiB"},
      {WrapHeader(" {" + kA + "}", data), "start with '{'"},
      {WrapHeader("{" + kA + "}\n", data), "end with '}'"},
      {WrapHeader("{" + kA + "}x", data), "end with '}'"},
      {WrapHeader("{" + kA + "}{}", data), "not valid JSON"},
      {WrapHeader("[1]", data), "start with '{'"},
      {WrapHeader("{\"\xff\":1}", data), "not valid JSON"},
      {WrapHeader(std::string(100000, '{') + "}", data), "not valid JSON"},
      {WrapHeader("{\"a\":" + std::string(100000, '[') + "}", data), "unexpected type"},
      {one(kA + "," + kA), "appears twice"},
      {one("\"__metadata__\":{\"a\":1}," + kA), "unexpected type"},
      {one("\"__metadata__\":{},\"__metadata__\":{}," + kA), "twice"},
      {one("\"a\":5"), "unexpected type"},
      {one("\"a\":{\"dtype\":\"F32\",\"shape\":[2]}"), "needs dtype"},
      {one("\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}"), "appears twice"},
      {one("\"a\":{\"type\":\"F32\"}"), "unknown key"},
      {one(Entry("a", "F4", "[2]", "[0,8]")), "dtype \"F4\""},
      {one(Entry("a", "f32", "[2]", "[0,8]")), "dtype \"f32\""},
      {one(Entry("a", "F32", "[-2]", "[0,8]")), "negative"},
      {one(Entry("a", "F32", "[2.0]", "[0,8]")), "not whole"},
      {one(Entry("a", "F32", "[\"2\"]", "[0,8]")), "unexpected type"},
      {one(Entry("a", "F32", "[[2]]", "[0,8]")), "unexpected type"},
      {one(Entry("a", "F32", "[4294967296,4294967296]", "[0,8]")), "too large"},
      {one(Entry("a", "F32", "[9223372036854775807]", "[0,8]")), "too large"},
      {one(Entry("a", "F32", "[9223372036854775808]", "[0,8]")), "too large"},
      {one(Entry("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]")), "too many dimensions"},
      {one(Entry("a", "F32", "[3]", "[0,8]")), "need 12"},
      {one(Entry("a", "F16", "[2]", "[0,8]")), "need 4"},
      {one(Entry("a", "F32", "[2]", "[8,0]")), "end before they begin"},
      {one(Entry("a", "F32", "[2]", "[0,8,9]")), "two numbers"},
      {one(Entry("a", "F32", "[2]", "[0]")), "needs dtype"},
      {one(Entry("a", "F32", "[2]", "[0,18446744073709551615]")), "need 8"},
      {one(Entry("a", "F32", "[2]", "[-8,0]")), "negative"},
      {one(Entry("a", "F32", "[4]", "[0,16]")), "beyond the end"},
      {one(Entry("a", "F32", "[1]", "[0,4]")), "belong to no tensor"},
      {one(Entry("a", "F32", "[1]", "[4,8]")), "hole"},
      {one(kA + "," + Entry("b", "F32", "[1]", "[4,8]")), "overlaps"},
      {one(kA + "," + Entry("b", "F32", "[2]", "[0,8]")), "overlaps"},
      {one(Entry(std::string(300, 'n'), "F32", "[2]", "[0,8]")), "longer than 256"},
      {WrapHeader(many + "}", ""), "more than 65536"},
  };
  EXPECT_GE(cases.size(), 45U);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto tensors = Read(cases[i].first);
    ASSERT_FALSE(tensors.ok()) << "case " << i << ", " << cases[i].second;
    EXPECT_EQ(tensors.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(tensors.status().message(), HasSubstr(cases[i].second)) << "case " << i;
    EXPECT_EQ(tensors.status().message().find('\n'), std::string::npos);
    EXPECT_LT(tensors.status().message().size(), 240U);
  }
}

// Whatever the bytes, the reader answers, and what it accepts lies in the file.
TEST(SafetensorsTest, SurvivesMutation) {
  std::mt19937 random(7);  // seeds below
  const std::string good = EncodeSafetensors(testing::MakeTiny("Qwen2ForCausalLM").tensors);
  const size_t header_end = good.find('}', good.rfind("data_offsets")) + 2;
  int accepted = 0;
  for (int seed = 0; seed < 6000; ++seed) {
    random.seed(static_cast<uint32_t>(seed));
    std::string file = good;
    const int edits = 1 + static_cast<int>(random() % 4);
    for (int e = 0; e < edits; ++e) {
      const size_t at = random() % header_end;
      switch (random() % 5) {
        case 0:
          file[at] = static_cast<char>(random());
          break;
        case 1:
          file[at] = "0123456789{}[],:\"-"[random() % 18];
          break;
        case 2:
          file.erase(at, 1 + random() % 40);
          break;
        case 3:
          file.insert(at, file.substr(random() % header_end, random() % 60));
          break;
        default:
          file.resize(at + random() % (file.size() - at));
          break;
      }
      if (file.size() < header_end) break;
    }
    const auto tensors = Read(file);
    if (!tensors.ok()) {
      EXPECT_EQ(tensors.status().message().find('\n'), std::string::npos);
      continue;
    }
    ++accepted;
    for (const model::StoredTensor& t : *tensors) {
      ASSERT_LE(t.begin, t.end);
      ASSERT_LE(t.end, file.size());
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 3000);
}

}  // namespace
}  // namespace inferd
