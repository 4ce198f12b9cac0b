// The same requests over gRPC and over HTTP have the same outcome: text, tokens, ends,
// usage, or the same error at the same field.
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "harness.h"
#include "inferd/openai/openai.h"
#include "nlohmann/json.hpp"

namespace inferd {
namespace {

using nlohmann::json;

// What a client sees of an answer, in terms that both protocols have.
struct Outcome {
  std::string reason;  // of the error; empty: none
  std::string field;
  std::string message;
  std::map<int, std::string> text;
  std::map<int, std::string> finish;
  std::map<int, std::string> matched;
  std::map<int, std::vector<uint32_t>> token_ids;
  std::map<int, std::vector<std::string>> logprob_tokens;
  std::vector<float> logprobs;
  std::vector<int> usage;  // prompt, completion, total; empty: not told

  bool operator==(const Outcome& other) const = default;
};

std::string Describe(const Outcome& o) {
  std::string out = o.reason + " " + o.field + " " + o.message;
  for (const auto& [i, t] : o.text) out += " [" + std::to_string(i) + "] " + t;
  for (const auto& [i, t] : o.finish) out += " " + t;
  for (const auto& [i, t] : o.matched) out += " matched " + t;
  for (const auto& [i, t] : o.token_ids) out += " ids " + std::to_string(t.size());
  for (const auto& [i, t] : o.logprob_tokens) out += " logprobs " + std::to_string(t.size());
  for (const int n : o.usage) out += " " + std::to_string(n);
  return out;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(c));
  return text;
}

std::string FinishName(v1::FinishReason reason) {
  if (reason == v1::FINISH_REASON_UNSPECIFIED) return "";
  return reason == v1::FINISH_REASON_STOP ? "stop" : "length";
}

// --- gRPC

void TakeError(const grpc::Status& status, Outcome* out) {
  if (status.ok()) return;
  out->reason = Lower(ReasonOf(status));
  out->message = status.error_message();
  if (const auto bad = DetailOf<google::rpc::BadRequest>(status)) {
    out->field = bad->field_violations(0).field();
  }
}

void TakeUsage(const v1::Usage& usage, Outcome* out) {
  out->usage = {usage.prompt_tokens(), usage.completion_tokens(), usage.total_tokens()};
}

template <typename Logprobs>
void TakeLogprobs(int index, const Logprobs& logprobs, Outcome* out) {
  for (const v1::TokenLogprob& entry : logprobs) {
    out->logprob_tokens[index].push_back(entry.token());
    out->logprobs.push_back(entry.logprob());
  }
}

template <typename Choice>
void TakeEnd(const Choice& choice, Outcome* out) {
  const int i = choice.index();
  const std::string finish = FinishName(choice.finish_reason());
  if (!finish.empty()) out->finish[i] = finish;
  if (choice.has_matched_stop()) {
    out->matched[i] = choice.matched_stop().stop_case() == v1::MatchedStop::kStopString
                          ? choice.matched_stop().stop_string()
                          : std::to_string(choice.matched_stop().token_id());
  }
  for (const uint32_t id : choice.token_ids()) out->token_ids[i].push_back(id);
}

void Take(const v1::ChatChoice& choice, Outcome* out) {
  out->text[choice.index()] += choice.message().content();
  TakeLogprobs(choice.index(), choice.logprobs().content(), out);
  TakeEnd(choice, out);
}
void Take(const v1::ChunkChoice& choice, Outcome* out) {
  out->text[choice.index()] += choice.delta().content();
  TakeLogprobs(choice.index(), choice.logprobs().content(), out);
  TakeEnd(choice, out);
}
void Take(const v1::CompletionChoice& choice, Outcome* out) {
  out->text[choice.index()] += choice.text();
  TakeLogprobs(choice.index(), choice.logprobs(), out);
  TakeEnd(choice, out);
}

template <typename Chunk, typename Reader>
Outcome ReadStream(Reader reader) {
  Outcome out;
  Chunk chunk;
  while (reader->Read(&chunk)) {
    for (const auto& choice : chunk.choices()) Take(choice, &out);
    if (chunk.has_usage()) TakeUsage(chunk.usage(), &out);
  }
  TakeError(reader->Finish(), &out);
  return out;
}

template <typename Answer>
Outcome Whole(const grpc::Status& status, const Answer& answer) {
  Outcome out;
  TakeError(status, &out);
  for (const auto& choice : answer.choices()) Take(choice, &out);
  if (status.ok()) TakeUsage(answer.usage(), &out);
  return out;
}

Outcome OverGrpc(Harness& h, v1::ChatCompletionRequest request) {
  grpc::ClientContext context;
  if (request.stream()) {
    return ReadStream<v1::ChatCompletionChunk>(h.chat->StreamChatCompletion(&context, request));
  }
  v1::ChatCompletion answer;
  const grpc::Status status = h.chat->CreateChatCompletion(&context, request, &answer);
  return Whole(status, answer);
}

Outcome OverGrpc(Harness& h, v1::CompletionRequest request) {
  grpc::ClientContext context;
  if (request.stream()) {
    return ReadStream<v1::CompletionChunk>(h.completion->StreamCompletion(&context, request));
  }
  v1::Completion answer;
  const grpc::Status status = h.completion->CreateCompletion(&context, request, &answer);
  return Whole(status, answer);
}

// --- HTTP

void TakeJson(const json& body, Outcome* out) {
  if (body.contains("error")) {
    out->reason = body["error"]["code"];
    out->message = body["error"]["message"];
    if (!body["error"]["param"].is_null()) out->field = body["error"]["param"];
    return;
  }
  for (const json& choice : body["choices"]) {
    const int i = choice["index"];
    std::string& text = out->text[i];
    if (choice.contains("text")) text += choice["text"];
    if (choice.contains("message")) text += choice["message"]["content"];
    if (choice.contains("delta") && choice["delta"].contains("content")) {
      text += choice["delta"]["content"];
    }
    if (!choice["finish_reason"].is_null()) out->finish[i] = choice["finish_reason"];
    if (choice.contains("stop_reason")) {
      const json& stop = choice["stop_reason"];
      out->matched[i] = stop.is_string() ? stop.get<std::string>() : stop.dump();
    }
    if (choice.contains("token_ids")) {
      for (const json& id : choice["token_ids"]) out->token_ids[i].push_back(id);
    }
    const json& logprobs = choice["logprobs"];
    if (logprobs.is_null()) continue;
    if (logprobs.contains("tokens")) {
      for (const json& token : logprobs["tokens"]) out->logprob_tokens[i].push_back(token);
      for (const json& value : logprobs["token_logprobs"]) out->logprobs.push_back(value);
    } else {
      for (const json& entry : logprobs["content"]) {
        out->logprob_tokens[i].push_back(entry["token"]);
        out->logprobs.push_back(entry["logprob"]);
      }
    }
  }
  if (body.contains("usage") && !body["usage"].is_null()) {
    out->usage = {body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"],
                  body["usage"]["total_tokens"]};
  }
}

Outcome OverHttp(Harness& h, const std::string& path, const std::string& body) {
  Outcome out;
  std::string reply = h.ApiCall(path, body);
  if (reply.rfind("data: ", 0) != 0) {
    TakeJson(json::parse(reply), &out);
    return out;
  }
  bool done = false;
  for (size_t end; (end = reply.find("\n\n")) != std::string::npos; reply.erase(0, end + 2)) {
    const std::string event = reply.substr(0, end);
    EXPECT_FALSE(done);
    done = event == "data: [DONE]";
    if (!done) TakeJson(json::parse(event.substr(event.find("data: ") + 6)), &out);
  }
  EXPECT_EQ(done, out.reason.empty());
  return out;
}

// Each choice says its number and the prompt's length, then more than anybody asked for.
std::vector<TokenEvent> Script(const RequestSpec& spec) {
  std::vector<TokenEvent> events;
  for (int32_t choice = 0; choice < spec.num_choices; ++choice) {
    const std::string text = "choice " + std::to_string(choice) + " of " +
                             std::to_string(spec.prompt.size()) + " é STOP and more";
    const auto room = static_cast<size_t>(spec.stop.max_new_tokens);
    auto some = TextEvents(spec.id, text.substr(0, room), FinishReason::kLength, choice);
    for (TokenEvent& event : some) {
      event.logprob = -0.25F;
      events.push_back(std::move(event));
    }
  }
  return events;
}

constexpr char kMessages[] = R"("messages": [{"role": "user", "content": "hello"}])";

TEST(ParityTest, Chat) {
  Harness h;
  h.engine->Play(Script);
  const std::string m = kMessages;
  const std::vector<std::string> fields = {
      // Good ones.
      m, m + R"(, "model": "alias")", m + R"(, "max_tokens": 7)", m + R"(, "n": 3)",
      m + R"(, "stop": "STOP")",
      m + R"(, "stop": ["x", "STOP"], "include_stop_str_in_output": true)",
      m + R"(, "logprobs": true, "top_logprobs": 0, "max_tokens": 5)",
      m + R"(, "return_token_ids": true, "max_tokens": 5)", m + R"(, "stop_token_ids": [102])",
      m + R"(, "temperature": 0, "top_p": 1, "seed": -1, "top_k": 3, "min_p": 0.1, "user": "u")",
      m + R"(, "max_completion_tokens": 3, "max_tokens": 30)",
      R"("messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])",
      // Bad ones.
      R"("messages": [])", R"("model": "nope", )" + m, m + R"(, "temperature": 2.5)",
      m + R"(, "top_p": 0)", m + R"(, "n": 0)", m + R"(, "n": 9)", m + R"(, "max_tokens": 0)",
      m + R"(, "max_tokens": 5000)", m + R"(, "stop": ["a", "b", "c", "d", "e"])",
      m + R"(, "stop": "")", m + R"(, "top_logprobs": 3)", m + R"(, "logit_bias": {"5000": 1})",
      m + R"(, "logit_bias": {"5": 101})", m + R"(, "stop_token_ids": [5000])",
      m + R"(, "tools": [{"type": "function", "function": {"name": "f"}}])",
      m + R"(, "tool_choice": "required")", m + R"(, "response_format": {"type": "json_object"})",
      m + R"(, "reasoning_effort": "low")", m + R"(, "store": true)",
      m + R"(, "chat_template": "x")", m + R"(, "chat_template_kwargs": {"fail": 1})",
      m + R"(, "chat_template_kwargs": {"messages": []})", m + R"(, "temperature": 1e300)",
      R"("messages": [{"role": "tool", "content": "x"}])",
      R"("messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])",
      R"("messages": [{"role": "user"}])"};
  int good = 0;
  for (const std::string& text : fields) {
    for (const char* stream : {"false", "true"}) {
      const std::string usage =
          *stream == 't' ? R"(, "stream_options": {"include_usage": true})" : "";
      const std::string body = "{" + text + ", \"stream\": " + stream + usage + "}";
      const auto request = openai::ParseChatRequest(body, openai::JsonLimits{});
      ASSERT_TRUE(request.ok()) << body << request.status().ToString();
      const Outcome grpc = OverGrpc(h, *request);
      const Outcome http = OverHttp(h, "/v1/chat/completions", body);
      EXPECT_EQ(grpc, http) << body << "\ngRPC: " << Describe(grpc) << "\nHTTP: " << Describe(http);
      good += grpc.reason.empty() ? 1 : 0;
      EXPECT_EQ(grpc.usage.empty(), !grpc.reason.empty()) << body;
    }
  }
  EXPECT_EQ(good, 24);
}

TEST(ParityTest, Completions) {
  Harness h;
  h.engine->Play(Script);
  const std::vector<std::string> fields = {
      R"("prompt": "hello")", R"("prompt": "hello", "echo": true)",
      R"("prompt": [104, 105], "max_tokens": 9)", R"("prompt": "h", "logprobs": 0)",
      R"("prompt": "h", "n": 2, "stop": "c")",
      // Bad ones; the prompt has another name in each protocol.
      R"("prompt": "h", "suffix": "x")", R"("prompt": "h", "logprobs": 6)",
      R"("prompt": "h", "max_tokens": -1)", R"("prompt": "h", "echo": true, "logprobs": 1)"};
  for (const std::string& text : fields) {
    for (const char* stream : {"false", "true"}) {
      const std::string usage =
          *stream == 't' ? R"(, "stream_options": {"include_usage": true})" : "";
      const std::string body = "{" + text + ", \"stream\": " + stream + usage + "}";
      const auto request = openai::ParseCompletionRequest(body, openai::JsonLimits{});
      ASSERT_TRUE(request.ok()) << body;
      const Outcome grpc = OverGrpc(h, *request);
      const Outcome http = OverHttp(h, "/v1/completions", body);
      EXPECT_EQ(grpc, http) << body << "\ngRPC: " << Describe(grpc) << "\nHTTP: " << Describe(http);
    }
  }
}

TEST(ParityTest, OnePortForBoth) {
  Harness h;
  h.engine->Play(Script);
  int status = 0;
  h.ApiCall("/v1/models", "", &status);
  EXPECT_EQ(status, 200);
  h.ApiCall("/healthz", "", &status);
  EXPECT_EQ(status, 200);
  EXPECT_TRUE(StreamChat(h, Ask("hi")).status.ok());
  const std::string log = h.Log();
  EXPECT_NE(log.find("peer=\"127.0.0.1:"), std::string::npos) << log;
  EXPECT_EQ(log.find("peer=\"unix"), std::string::npos) << log;
  EXPECT_EQ(h.Metric(R"(inferd_requests_total{code="OK",method="GET /v1/models"})"), 1);
  ServerOptions options = TestOptions();
  options.http = false;
  Harness grpc_only(options);
  EXPECT_EQ(grpc_only.ApiCall("/v1/models", ""), "");
  grpc_only.engine->Play(Script);
  EXPECT_TRUE(StreamChat(grpc_only, Ask("hi")).status.ok());
}

}  // namespace
}  // namespace inferd
