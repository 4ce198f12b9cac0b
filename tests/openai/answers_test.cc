// Messages to JSON, byte for byte.
#include <google/protobuf/text_format.h>

#include <string>

#include "gtest/gtest.h"
#include "inferd/openai/openai.h"

namespace inferd::openai {
namespace {

template <typename T>
T Proto(const std::string& text) {
  T message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

TEST(AnswersTest, Chat) {
  const auto answer = Proto<v1::ChatCompletion>(R"(
      id: "chatcmpl-1" created: 5 model: "m"
      choices { index: 0 message { role: ROLE_ASSISTANT content: "a\"b\n" } finish_reason: FINISH_REASON_STOP
        matched_stop { stop_string: "x" } token_ids: [1, 2]
        logprobs { content { token: "é" bytes: "\303\251" logprob: -0.5 token_id: 3
          top_logprobs { token: "b" bytes: "b" logprob: -9999 token_id: 4 } } } }
      choices { index: 1 message { role: ROLE_ASSISTANT tool_calls { id: "c" function { name: "f" arguments: "{}" } } }
        finish_reason: FINISH_REASON_TIME_LIMIT matched_stop { token_id: 7 } }
      usage { prompt_tokens: 1 completion_tokens: 2 total_tokens: 3 prompt_tokens_details { cached_tokens: 1 } }
      prompt_token_ids: [9])");
  EXPECT_EQ(
      ToJson(answer),
      R"({"id":"chatcmpl-1","object":"chat.completion","created":5,"model":"m","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":"a\"b\n","refusal":null},)"
      R"("logprobs":{"content":[{"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":[)"
      R"({"token":"b","logprob":-9999,"bytes":[98]}]}],"refusal":null},"finish_reason":"stop",)"
      R"("stop_reason":"x","token_ids":[1,2]},)"
      R"({"index":1,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[)"
      R"({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,)"
      R"("finish_reason":"length","stop_reason":7}],"prompt_token_ids":[9],)"
      R"("usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,)"
      R"("prompt_tokens_details":{"cached_tokens":1}}})");
}

TEST(AnswersTest, ChatChunks) {
  const std::string head =
      R"({"id":"i","object":"chat.completion.chunk","created":5,"model":"m","choices":[)";
  const auto first = Proto<v1::ChatCompletionChunk>(
      R"(id: "i" created: 5 model: "m" choices { delta { role: ROLE_ASSISTANT content: "" } })");
  EXPECT_EQ(ToJson(first, false),
            head + R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
                   R"("finish_reason":null}]})");
  EXPECT_EQ(ToJson(first, true),
            head + R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
                   R"("finish_reason":null}],"usage":null})");
  const auto last = Proto<v1::ChatCompletionChunk>(
      R"(id: "i" created: 5 model: "m" choices { index: 1 delta {} finish_reason: FINISH_REASON_LENGTH })");
  EXPECT_EQ(ToJson(last, false),
            head + R"({"index":1,"delta":{},"logprobs":null,"finish_reason":"length"}]})");
  const auto usage = Proto<v1::ChatCompletionChunk>(
      R"(id: "i" created: 5 model: "m" usage { prompt_tokens: 1 completion_tokens: 2 total_tokens: 3 })");
  EXPECT_EQ(ToJson(usage, true),
            head + R"(],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,)"
                   R"("prompt_tokens_details":{"cached_tokens":0}}})");
  const auto tool = Proto<v1::ChatCompletionChunk>(
      R"(id: "i" created: 5 model: "m" choices { delta {
           tool_calls { index: 0 id: "c" function { name: "f" arguments: "" } }
           tool_calls { index: 0 function { arguments: "{" } } } })");
  EXPECT_EQ(
      ToJson(tool, false),
      head +
          R"({"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",)"
          R"("function":{"name":"f","arguments":""}},{"index":0,"function":{"arguments":"{"}}]},)"
          R"("logprobs":null,"finish_reason":null}]})");
}

TEST(AnswersTest, LegacyLogprobsAndOffsets) {
  const std::string choice = R"(choices { index: 0 text: "é!"
      logprobs { token: "\357\277\275" bytes: "\303" logprob: -1 top_logprobs { token: "a" bytes: "a" logprob: -0.25 } }
      logprobs { token: "\357\277\275" bytes: "\251" logprob: -2
        top_logprobs { token: "\357\277\275" bytes: "\251" logprob: -2 } top_logprobs { token: "\357\277\275" bytes: "\252" logprob: -3 } }
      logprobs { token: "!" bytes: "!" logprob: -0.5 } })";
  const auto answer = Proto<v1::Completion>(R"(id: "i" created: 5 model: "m" )" + choice);
  const std::string logprobs =
      R"({"tokens":["�","�","!"],"token_logprobs":[-1,-2,-0.5],)"
      R"("top_logprobs":[{"a":-0.25,"�":-1},{"�":-2},{"!":-0.5}],"text_offset":)";
  EXPECT_EQ(ToJson(answer),
            R"({"id":"i","object":"text_completion","created":5,"model":"m","choices":[)"
            R"({"text":"é!","index":0,"logprobs":)" +
                logprobs +
                R"([0,1,1]},"finish_reason":null}],"usage":{"prompt_tokens":0,)"
                R"("completion_tokens":0,"total_tokens":0,)"
                R"("prompt_tokens_details":{"cached_tokens":0}}})");
  const auto chunk = Proto<v1::CompletionChunk>(R"(id: "i" created: 5 model: "m" )" + choice);
  TextOffsets offsets;
  ToJson(chunk, false, &offsets);
  EXPECT_NE(ToJson(chunk, false, &offsets).find(R"("text_offset":[2,3,3])"), std::string::npos);
}

TEST(AnswersTest, ModelsAndTokens) {
  const auto models = Proto<v1::ListModelsResponse>(
      R"(models { id: "m" created: 5 owned_by: "inferd" root: "/m" max_model_len: 9 aliases: "a"
           architecture: "L" dtype: "f32" vocab_size: 3 eos_token_ids: 2 capabilities: CAPABILITY_CHAT
           default_sampling_params: "{\"top_k\":0}" })");
  EXPECT_EQ(
      ToJson(models),
      R"({"object":"list","data":[{"id":"m","object":"model","created":5,"owned_by":"inferd",)"
      R"("root":"/m","parent":null,"max_model_len":9,"aliases":["a"],"architecture":"L",)"
      R"("quantization":"","dtype":"f32","vocab_size":3,"eos_token_ids":[2],)"
      R"("capabilities":["chat"],"default_sampling_params":{"top_k":0}}]})");
  EXPECT_EQ(ToJson(v1::ListModelsResponse()), R"({"object":"list","data":[]})");
  EXPECT_EQ(ToJson(Proto<v1::TokenizeResponse>("token_ids: [1, 2] count: 2 max_model_len: 9")),
            R"({"count":2,"max_model_len":9,"tokens":[1,2],"token_strs":null})");
  EXPECT_EQ(ToJson(Proto<v1::TokenizeResponse>(
                R"(token_ids: 1 token_bytes: "\303" count: 1 max_model_len: 9)")),
            R"({"count":1,"max_model_len":9,"tokens":[1],"token_strs":["�"]})");
  EXPECT_EQ(ToJson(Proto<v1::DetokenizeResponse>(R"(text: "a\303")")), R"({"prompt":"a�"})");
}

}  // namespace
}  // namespace inferd::openai
