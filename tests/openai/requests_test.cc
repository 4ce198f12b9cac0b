// Bodies to messages: golden pairs in JSON and in protobuf's text, and what is refused.
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inferd/openai/openai.h"

namespace inferd::openai {
namespace {

constexpr JsonLimits kLimits;

struct Golden {
  const char* json;
  const char* proto;
};

template <typename Request>
void ExpectSame(const StatusOr<Request>& parsed, const Golden& golden) {
  ASSERT_TRUE(parsed.ok()) << golden.json << "\n" << parsed.status().ToString();
  Request expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(golden.proto, &expected))
      << golden.proto;
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*parsed, expected))
      << golden.json << "\ngives\n"
      << parsed->DebugString();
}

TEST(ChatRequestTest, Golden) {
  const std::vector<Golden> all = {
      {R"({"model": "m", "messages": [{"role": "user", "content": "hi"}]})",
       R"(model: "m" messages { role: ROLE_USER content { text: "hi" } })"},
      {R"({"messages": [
            {"role": "developer", "content": "a"}, {"role": "system", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "name": "Bob", "content": [{"type": "text", "text": "x"}, "y",
              {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
              {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
            {"role": "assistant", "content": null, "refusal": "no", "reasoning_content": "hm", "audio": null,
             "annotations": [], "function_call": null,
             "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":"}}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "r"}]},
            {"role": "tool", "tool_call_id": "c1", "content": ""}]})",
       R"(messages { role: ROLE_DEVELOPER content { text: "a" } }
          messages { role: ROLE_SYSTEM content { text: "b" } }
          messages { role: ROLE_USER name: "Bob" content { text: "x" } content { text: "y" }
            content { image_url { url: "data:," detail: "low" } }
            content { input_audio { format: "wav" } } }
          messages { role: ROLE_ASSISTANT refusal: "no" reasoning_content: "hm"
            tool_calls { id: "c1" function { name: "f" arguments: "{\"a\":" } } }
          messages { role: ROLE_ASSISTANT content { refusal: "r" } }
          messages { role: ROLE_TOOL tool_call_id: "c1" content { text: "" } })"},
      {R"({"temperature": 0, "top_p": 1e-2, "n": 3, "stream": true,
           "stream_options": {"include_usage": false, "include_obfuscation": true, "continuous_usage_stats": true},
           "stop": "x", "max_completion_tokens": 7, "max_tokens": 8, "presence_penalty": -2,
           "frequency_penalty": 1.5, "logit_bias": {"0": -100, "4294967295": 1.5},
           "logprobs": true, "top_logprobs": 5, "seed": -9223372036854775808})",
       R"(temperature: 0 top_p: 0.01 n: 3 stream: true
          stream_options { include_usage: false continuous_usage_stats: true }
          stop: "x" max_completion_tokens: 7 max_tokens: 8 presence_penalty: -2
          frequency_penalty: 1.5 logit_bias { key: 0 value: -100 }
          logit_bias { key: 4294967295 value: 1.5 }
          logprobs: true top_logprobs: 5 seed: -9223372036854775808)"},
      {R"({"stop": ["a", "\u0000b"], "stop_token_ids": [1, 2], "metadata": {"k": "v"}, "user": "u",
           "reasoning_effort": "xhigh", "temperature": null, "stop_x": null, "prediction": {"x": 1},
           "modalities": ["text"], "top_k": -1, "min_p": 0.5, "cache_salt": "s", "bad_words": ["w"],
           "chat_template_kwargs": {"b": 1, "a": [1.0, {"c": "]}"}]}, "time_limit_ms": 5, "store": false})",
       R"(stop: "a" stop: "\000b" stop_token_ids: 1 stop_token_ids: 2 metadata { key: "k" value: "v" }
          user: "u" reasoning_effort: REASONING_EFFORT_XHIGH top_k: -1 min_p: 0.5 cache_salt: "s"
          bad_words: "w" chat_template_kwargs: "{\"b\": 1, \"a\": [1.0, {\"c\": \"]}\"}]}"
          time_limit_ms: 5 store: false)"},
      {R"({"tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": true,
             "parameters": {"type": "object", "properties": {"z": {}, "a": {"maximum": 1.0}}}}}],
           "tool_choice": "required", "parallel_tool_calls": false})",
       R"(tools { function { name: "f" description: "d" strict: true
            parameters: "{\"type\": \"object\", \"properties\": {\"z\": {}, \"a\": {\"maximum\": 1.0}}}" } }
          tool_choice { mode: TOOL_CHOICE_MODE_REQUIRED } parallel_tool_calls: false)"},
      {R"({"tool_choice": {"type": "function", "function": {"name": "f"}}})",
       R"(tool_choice { function_name: "f" })"},
      {R"({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto",
             "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]}}})",
       R"(tool_choice { allowed_tools { mode: TOOL_CHOICE_MODE_AUTO function_names: "f" function_names: "g" } })"},
      {R"({"response_format": {"type": "text"}})", "response_format { text {} }"},
      {R"({"response_format": {"type": "json_object"}})", "response_format { json_object {} }"},
      {R"({"response_format": {"json_schema": {"name": "n", "schema": {"b": [], "a": 2}, "strict": true,
             "description": "d"}, "type": "json_schema"}})",
       R"(response_format { json_schema { name: "n" description: "d" schema: "{\"b\": [], \"a\": 2}" strict: true } })"},
      {R"({"response_format": {"type": "regex", "regex": "a+"}})",
       R"(response_format { regex: "a+" })"},
      {R"({"response_format": {"type": "grammar", "grammar": "g"}})",
       R"(response_format { grammar: "g" })"},
      {R"({"response_format": {"type": "choice", "choice": ["a", "b"]}})",
       R"(response_format { choice { choices: "a" choices: "b" } })"},
      {R"({"response_format": {"type": "structural_tag", "structural_tag": {"x":1}}})",
       R"(response_format { structural_tag: "{\"x\":1}" })"},
  };
  for (const Golden& golden : all) ExpectSame(ParseChatRequest(golden.json, kLimits), golden);
}

TEST(CompletionRequestTest, Golden) {
  const std::vector<Golden> all = {
      {R"({"model": "m", "prompt": "once", "max_tokens": 5, "echo": true, "logprobs": 2, "best_of": 1})",
       R"(model: "m" text: "once" max_tokens: 5 echo: true logprobs: 2)"},
      {R"({"prompt": ["once"], "suffix": "s", "stop": ["a"]})",
       R"(text: "once" suffix: "s" stop: "a")"},
      {R"({"prompt": [1, 2, 3]})", "token_ids { ids: [1, 2, 3] }"},
      {R"({"prompt": [[1, 2, 3]]})", "token_ids { ids: [1, 2, 3] }"},
      {R"({"prompt": []})", "token_ids {}"},
      {R"({"prompt": ""})", R"(text: "")"},
  };
  for (const Golden& golden : all) ExpectSame(ParseCompletionRequest(golden.json, kLimits), golden);
}

TEST(TokenizeRequestTest, TextAndChat) {
  auto text = ParseTokenizeRequest(
      R"({"model": "m", "prompt": "p", "add_special_tokens": false, "return_token_strs": true})",
      kLimits);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_FALSE(text->is_chat);
  EXPECT_EQ(text->text.text(), "p");
  EXPECT_TRUE(text->text.has_add_special_tokens());
  EXPECT_TRUE(text->text.return_token_strings());
  auto chat = ParseTokenizeRequest(
      R"({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": false})",
      kLimits);
  ASSERT_TRUE(chat.ok());
  EXPECT_TRUE(chat->is_chat);
  EXPECT_EQ(chat->chat.messages_size(), 1);
  EXPECT_FALSE(ParseTokenizeRequest("{}", kLimits).ok());
  auto ids = ParseDetokenizeRequest(R"({"tokens": [5, 6], "skip_special_tokens": false})", kLimits);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(ids->token_ids_size(), 2);
}

struct Bad {
  const char* json;
  const char* field;
  const char* reason;
};

template <typename Request>
void ExpectRefused(const StatusOr<Request>& parsed, const Bad& bad) {
  ASSERT_FALSE(parsed.ok()) << bad.json;
  EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
  ASSERT_NE(parsed.status().detail(), nullptr);
  EXPECT_EQ(parsed.status().detail()->field, bad.field) << bad.json;
  EXPECT_EQ(parsed.status().detail()->reason, bad.reason) << bad.json;
}

TEST(ChatRequestTest, Refused) {
  constexpr const char* kType = "INVALID_PARAMETER";
  constexpr const char* kMessage = "INVALID_MESSAGE";
  constexpr const char* kUnsupported = "UNSUPPORTED_PARAMETER";
  const std::vector<Bad> all = {
      {R"({"model": 3})", "model", kType},
      {R"({"temperature": "1"})", "temperature", kType},
      {R"({"max_tokens": 1.5})", "max_tokens", kType},
      {R"({"max_tokens": "7"})", "max_tokens", kType},
      {R"({"max_tokens": 2147483648})", "max_tokens", kType},
      {R"({"max_tokens": 99999999999999999999})", "max_tokens", kType},
      {R"({"n": true})", "n", kType},
      {R"({"seed": 9223372036854775808})", "seed", kType},
      {R"({"stream": "yes"})", "stream", kType},
      {R"({"stream_options": []})", "stream_options", kType},
      {R"({"stream_options": {"include_usage": 1}})", "stream_options.include_usage", kType},
      {R"({"stream_options": {"foo": 1}})", "stream_options.foo", kUnsupported},
      {R"({"stop": [1]})", "stop[0]", kType},
      {R"({"stop": 1})", "stop", kType},
      {R"({"stop_token_ids": [1, -1]})", "stop_token_ids[1]", "INVALID_TOKEN_ID"},
      {R"({"stop_token_ids": [4294967296]})", "stop_token_ids[0]", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {"abc": 1}})", "logit_bias", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {" 5": 1}})", "logit_bias", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {"-1": 1}})", "logit_bias", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {"05": 1}})", "logit_bias", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {"": 1}})", "logit_bias", "INVALID_TOKEN_ID"},
      {R"({"logit_bias": {"5": "1"}})", "logit_bias.5", kType},
      {R"({"metadata": {"a": 1}})", "metadata.a", kType},
      {R"({"messages": {}})", "messages", kMessage},
      {R"({"messages": ["x"]})", "messages[0]", kMessage},
      {R"({"messages": [{"role": "user", "content": "x"}, {"role": "wizard", "content": "x"}]})",
       "messages[1].role", kMessage},
      {R"({"messages": [{"role": "unspecified"}]})", "messages[0].role", kMessage},
      {R"({"messages": [{"content": {}}]})", "messages[0].content", kMessage},
      {R"({"messages": [{"content": [{"text": "x"}]}]})", "messages[0].content[0]", kMessage},
      {R"({"messages": [{"content": [{"type": "text"}]}]})", "messages[0].content[0]", kMessage},
      {R"({"messages": [{"content": [{"type": "text", "text": 3}]}]})",
       "messages[0].content[0].text", kMessage},
      {R"({"messages": [{"content": [{"type": "file", "file": {}}]}]})", "messages[0].content[0]",
       kUnsupported},
      {R"({"messages": [{"role": "user", "content": "x", "wink": 1}]})", "messages[0].wink",
       kUnsupported},
      {R"({"tools": [{"type": "custom"}]})", "tools[0].type", kUnsupported},
      {R"({"tools": [{"function": {"parameters": 3}}]})", "tools[0].function.parameters", kType},
      {R"({"tool_choice": "some"})", "tool_choice", kType},
      {R"({"tool_choice": {"type": "function"}})", "tool_choice", kType},
      {R"({"response_format": {"type": "xml"}})", "response_format.type", kType},
      {R"({"response_format": {"type": "json_schema"}})", "response_format.type", kType},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}})",
       "response_format.json_schema.schema", kType},
      {R"({"reasoning_effort": "extreme"})", "reasoning_effort", kType},
      {R"({"chat_template_kwargs": "{}"})", "chat_template_kwargs", kType},
      {R"({"temprature": 1})", "temprature", kUnsupported},
      {R"({"guided_json": {}})", "guided_json", kUnsupported},
      {R"({"best_of": 2})", "best_of", kUnsupported},
      {R"({"use_beam_search": true})", "use_beam_search", kUnsupported},
      {R"({"modalities": ["text", "audio"]})", "modalities", kUnsupported},
      {R"({"audio": {"voice": "x"}})", "audio", kUnsupported},
      {R"({"functions": [{"name": "f"}]})", "functions", kUnsupported},
  };
  for (const Bad& bad : all) ExpectRefused(ParseChatRequest(bad.json, kLimits), bad);
  const std::string long_name(5000, 'x');
  const auto parsed = ParseChatRequest("{\"" + long_name + "\": 1}", kLimits);
  ASSERT_FALSE(parsed.ok());
  EXPECT_LT(parsed.status().message().size(), 200U);
}

TEST(CompletionRequestTest, Refused) {
  const std::vector<Bad> all = {
      {R"({"prompt": ["a", "b"]})", "prompt", "UNSUPPORTED_PARAMETER"},
      {R"({"prompt": [[1], [2]]})", "prompt", "UNSUPPORTED_PARAMETER"},
      {R"({"prompt": [1, "x"]})", "prompt[1]", "INVALID_TOKEN_ID"},
      {R"({"prompt": [1, -1]})", "prompt[1]", "INVALID_TOKEN_ID"},
      {R"({"prompt": [1.5]})", "prompt[0]", "INVALID_TOKEN_ID"},
      {R"({"prompt": {}})", "prompt", "INVALID_PARAMETER"},
      {R"({"text": "a"})", "text", "UNSUPPORTED_PARAMETER"},
      {R"({"token_ids": {"ids": [1]}})", "token_ids", "UNSUPPORTED_PARAMETER"},
      {R"({"logprobs": true})", "logprobs", "INVALID_PARAMETER"},
      {R"({"best_of": 3})", "best_of", "UNSUPPORTED_PARAMETER"},
      {R"({"prompt_embeds": "AAAA"})", "prompt_embeds", "UNSUPPORTED_PARAMETER"},
  };
  for (const Bad& bad : all) ExpectRefused(ParseCompletionRequest(bad.json, kLimits), bad);
}

TEST(ChatRequestTest, NumbersNoFloatHolds) {
  auto parsed = ParseChatRequest(R"({"temperature": 1e308, "top_p": 1e-400})", kLimits);
  ASSERT_TRUE(parsed.ok());
  EXPECT_GT(parsed->temperature(), 1e38F);  // for the validator: out of range
  EXPECT_EQ(parsed->top_p(), 0.0F);
}

}  // namespace
}  // namespace inferd::openai
