// Against what the Jinja environment of transformers renders, byte by byte.
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inferd/text/chat_template.h"
#include "support/source_dir.h"

namespace inferd {
namespace {

using Json = nlohmann::ordered_json;

Json ReadJson(const std::string& path) {
  std::ifstream file(SourceDir().string() + "/tests/golden/" + path);
  return Json::parse(file, nullptr, /*allow_exceptions=*/false);
}

std::string ReadText(const std::string& path) {
  std::ifstream file(SourceDir().string() + "/tests/golden/" + path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

StatusOr<std::string> RenderText(const std::string& source, const Json& messages, const Json& tools,
                                 const Json& kwargs, const ChatTemplate::Options& options) {
  INFERD_ASSIGN_OR_RETURN(const auto compiled, ChatTemplate::Compile(source, {}));
  INFERD_ASSIGN_OR_RETURN(const RenderedPrompt prompt,
                          compiled->Render(messages, tools, kwargs, options));
  std::string text;
  for (size_t i = 0; i < prompt.size(); ++i) {
    EXPECT_FALSE(prompt[i].text.empty());
    if (i > 0) {
      EXPECT_NE(prompt[i].trusted, prompt[i - 1].trusted) << "pieces are not joined";
    }
    text += prompt[i].text;
  }
  return text;
}

// A case must give the recorded output, or fail with the documented reason.
void Check(const Json& expected, const StatusOr<std::string>& actual) {
  if (expected.contains("error")) {
    ASSERT_FALSE(actual.ok()) << "rendered " << *actual;
    EXPECT_EQ(actual.status().code(), StatusCode::kInvalidArgument);
    ASSERT_NE(actual.status().detail(), nullptr);
    EXPECT_EQ(actual.status().detail()->reason, "CHAT_TEMPLATE_ERROR");
    return;
  }
  ASSERT_TRUE(actual.ok()) << actual.status().ToString() << "\nexpected "
                           << expected["output"].get<std::string>();
  EXPECT_EQ(*actual, expected["output"].get<std::string>());
}

TEST(ChatTemplateGoldenTest, SmallTemplatesRenderAsJinjaDoes) {
  const Json file = ReadJson("jinja/cases.json");
  ASSERT_TRUE(file.is_object());
  ASSERT_GT(file["cases"].size(), 4000u);
  for (const Json& expected : file["cases"]) {
    SCOPED_TRACE(expected["template"].get<std::string>());
    Check(expected, RenderText(expected["template"].get<std::string>(), nullptr, nullptr,
                               file["variables"], {}));
  }
}

TEST(ChatTemplateGoldenTest, PublishedTemplatesRenderAsTransformersDoes) {
  const Json file = ReadJson("templates/cases.json");
  ASSERT_TRUE(file.is_object());
  ASSERT_GT(file["cases"].size(), 500u);
  for (const Json& expected : file["cases"]) {
    SCOPED_TRACE(expected["name"].get<std::string>());
    const Json& context = expected["context"];
    ChatTemplate::Options options;
    options.add_generation_prompt = context["add_generation_prompt"].get<bool>();
    options.bos_token = context["bos_token"].get<std::string>();
    options.eos_token = context["eos_token"].get<std::string>();
    options.unix_seconds = context["unix_seconds"].get<int64_t>();
    const std::string source =
        ReadText("templates/" + expected["template"].get<std::string>() + ".jinja");
    const StatusOr<std::string> actual =
        RenderText(source, context["messages"], context["tools"], context["kwargs"], options);
    // Rarely used names may be missing, but then the template is refused.
    if (expected["template"].get<std::string>().find("_rare") != std::string::npos &&
        !actual.ok()) {
      EXPECT_THAT(actual.status().message(),
                  testing::AnyOf(testing::HasSubstr("unknown filter"),
                                 testing::HasSubstr("is not supported")));
      continue;
    }
    Check(expected, actual);
  }
}

}  // namespace
}  // namespace inferd
