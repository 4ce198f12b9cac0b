#include "inferd/text/tokenizer_config.h"

#include "tokenizer_fixture.h"

namespace inferd {
namespace {

TEST(TokenizerConfigTest, BothFilesMayBeAbsent) {
  text::TempDir directory;
  const auto config = LoadTokenizerConfig(directory.path());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->bos_token, "");
  EXPECT_EQ(config->chat_template, "");
}

// A file that is there but cannot be had is not an absent one. (Permissions would not stop root.)
TEST(TokenizerConfigTest, AFileThatCannotBeReadIsAnError) {
  text::TempDir directory;
  std::filesystem::create_symlink("tokenizer_config.json",
                                  directory.path() / "tokenizer_config.json");
  const auto config = LoadTokenizerConfig(directory.path());
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.status().message().find("cannot be read: Too many levels"), std::string::npos)
      << config.status().message();
}

TEST(TokenizerConfigTest, TokensAreStringsOrObjects) {
  text::TempDir directory;
  directory.Write("tokenizer_config.json", R"({"bos_token": "<s>", "unk_token": null,
      "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false},
      "pad_token": "<pad>", "chat_template": "{{ messages }}", "other": [1]})");
  const auto config = LoadTokenizerConfig(directory.path());
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->bos_token, "<s>");
  EXPECT_EQ(config->eos_token, "</s>");
  EXPECT_EQ(config->unk_token, "");
  EXPECT_EQ(config->pad_token, "<pad>");
  EXPECT_EQ(config->chat_template, "{{ messages }}");
}

TEST(TokenizerConfigTest, OfAListOfTemplatesTheDefaultIsTaken) {
  text::TempDir directory;
  directory.Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]})");
  auto config = LoadTokenizerConfig(directory.path());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->chat_template, "D");
  directory.Write("tokenizer_config.json",
                  R"({"chat_template": [{"name": "tool_use", "template": "T"}]})");
  EXPECT_FALSE(LoadTokenizerConfig(directory.path()).ok());
}

TEST(TokenizerConfigTest, TheFileBesideItComesFirst) {
  text::TempDir directory;
  directory.Write("tokenizer_config.json", R"({"chat_template": "inline"})");
  directory.Write("chat_template.jinja", "file\n");
  auto config = LoadTokenizerConfig(directory.path());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->chat_template, "file\n");
  directory.Write("chat_template.jinja", "\xff");
  EXPECT_FALSE(LoadTokenizerConfig(directory.path()).ok());
}

TEST(TokenizerConfigTest, RefusesWhatIsMalformed) {
  for (const std::string_view json :
       {"", "[]", "{\"bos_token\": 1}", "{\"eos_token\": {\"text\": \"x\"}}",
        "{\"chat_template\": 3}", "{\"chat_template\": [1]}", "{\"chat_template\": [{}]}"}) {
    text::TempDir directory;
    directory.Write("tokenizer_config.json", json);
    const auto config = LoadTokenizerConfig(directory.path());
    ASSERT_FALSE(config.ok()) << json;
    EXPECT_EQ(config.status().code(), StatusCode::kFailedPrecondition) << json;
  }
}

}  // namespace
}  // namespace inferd
