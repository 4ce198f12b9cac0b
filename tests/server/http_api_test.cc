// The HTTP API without a network: routes, heads, streams and their ends.
#include "server/http_api.h"

#include <memory>
#include <string>
#include <vector>

#include "fake_exchange.h"
#include "fakes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/errors.h"

namespace inferd {
namespace {

using nlohmann::json;
using testing::HasSubstr;

ServedModel HttpModel() {
  ServedModel model;
  model.id = "m";
  model.aliases = {"org/alias"};
  model.max_model_len = 1000;
  model.vocab_size = ByteTokenizer::kVocab;
  model.eos_tokens = {ByteTokenizer::kEos};
  model.tokenizer = std::make_shared<ByteTokenizer>();
  model.chat_template = std::make_shared<BracketTemplate>();
  return model;
}

ServerOptions HttpOptions() {
  ServerOptions options;
  options.version = "1.2.3";
  options.ui = true;
  options.max_stream_buffer_bytes = 4 << 10;
  return options;
}

constexpr char kHello[] = R"({"messages": [{"role": "user", "content": "hi"}]})";
constexpr char kHelloStream[] =
    R"({"messages": [{"role": "user", "content": "hi"}], "stream": true})";

class HttpApiTest : public testing::Test {
 protected:
  HttpApiTest() : front_(HttpOptions(), clock_, entropy_, nullptr), engine_(front_.router()) {
    front_.Attach(HttpModel(), engine_);
    front_.SetState(ServerState::kReady);
  }

  std::shared_ptr<FakeExchange> Send(const std::string& method, const std::string& path,
                                     const std::string& body = "", HttpHeaders headers = {},
                                     bool eager = true, bool side_port = false) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.headers = std::move(headers);
    if (request.Header("content-type").empty()) {
      request.headers.emplace_back("content-type", "application/json");
    }
    request.body = body;
    request.peer = "192.0.2.1:5";
    auto exchange = std::make_shared<FakeExchange>(eager);
    (side_port ? api_.SideHandler() : api_.MainHandler())(std::move(request), exchange);
    return exchange;
  }

  // The error's code, once the answer is there.
  std::string Refusal(const std::shared_ptr<FakeExchange>& exchange, int http) {
    EXPECT_TRUE(exchange->WaitForEnd());
    const HttpResponse response = exchange->response();
    EXPECT_EQ(response.status, http) << response.body;
    EXPECT_EQ(response.content_type, "application/json");
    EXPECT_NE(HeaderOf(response, "x-request-id"), "");
    const json body = json::parse(response.body);
    EXPECT_EQ(body["error"].size(), 4U);
    return body["error"]["code"];
  }

  void PlayText(const std::string& text, FinishReason reason = FinishReason::kLength) {
    engine_.Play([=](const RequestSpec& spec) { return TextEvents(spec.id, text, reason); });
  }

  SystemClock clock_;
  SystemEntropy entropy_;
  FrontEnd front_;
  FakeEngine engine_;
  HttpApi api_{front_};
};

TEST_F(HttpApiTest, RoutesAreExact) {
  EXPECT_EQ(Send("GET", "/healthz")->response().body, "ok\n");
  EXPECT_EQ(Send("GET", "/readyz")->response().status, 200);
  EXPECT_EQ(Send("GET", "/health")->response().status, 200);
  EXPECT_EQ(json::parse(Send("GET", "/version")->response().body)["version"], "1.2.3");
  EXPECT_EQ(Send("GET", "/ui")->response().status, 200);
  for (const std::string path :
       {"/", "/v1", "/v1/", "/v1/chat", "//v1/models", "/v1//models", "/V1/models", "/v1/models/",
        "/v1/%6dodels", "/v1/chat/completions/", "/v1/chat/completions;x", "/ui/", "/ui/nothing",
        "/debug", "/metrics/", "/v1/models/%zz", "/v1/models/%2"}) {
    EXPECT_EQ(Refusal(Send("GET", path), 404), "route_not_found") << path;
  }
  for (const std::string method : {"PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH", "get"}) {
    for (const std::string path : {"/v1/chat/completions", "/v1/models", "/metrics", "/healthz"}) {
      const auto exchange = Send(method, path);
      EXPECT_EQ(Refusal(exchange, 405), "method_not_allowed") << method << path;
      EXPECT_EQ(HeaderOf(exchange->response(), "allow"),
                path == "/v1/chat/completions" ? "POST" : "GET");
    }
  }
  const auto metrics = Send("GET", "/metrics");
  ASSERT_TRUE(metrics->WaitForEnd());
  EXPECT_THAT(metrics->response().body, HasSubstr("inferd_http_streams_active 0"));
  EXPECT_THAT(metrics->response().body,
              HasSubstr(R"(inferd_requests_total{code="NOT_FOUND",method="http/other"})"));
}

TEST(HttpApiBrowserTest, WithoutKeysOnlyTheServersOwnNamesAreServed) {
  ServerOptions options = HttpOptions();
  options.guard_browsers = true;
  SystemClock clock;
  SystemEntropy entropy;
  FrontEnd front(options, clock, entropy, nullptr);
  HttpApi api(front);
  const auto status = [&](bool side_port, const std::string& path, HttpHeaders headers) {
    HttpRequest request;
    request.method = "GET";
    request.path = path;
    request.headers = std::move(headers);
    auto exchange = std::make_shared<FakeExchange>();
    (side_port ? api.SideHandler() : api.MainHandler())(std::move(request), exchange);
    EXPECT_TRUE(exchange->WaitForEnd());
    return exchange->response().status;
  };
  const HttpHeaders own = {{"host", "127.0.0.1:1"}, {"origin", "http://127.0.0.1:1"}};
  for (const bool side_port : {false, true}) {
    for (const char* path : {"/version", "/metrics", "/healthz"}) {
      EXPECT_EQ(status(side_port, path, own), 200) << path;
      EXPECT_EQ(status(side_port, path, {{"host", "evil.example"}}), 403) << path;
      EXPECT_EQ(status(side_port, path, {{"host", "[::1]"}, {"origin", "http://evil"}}), 403);
    }
  }
}

TEST_F(HttpApiTest, TheSidePortHasNoApi) {
  const auto side = [this](const std::string& method, const std::string& path) {
    return Send(method, path, kHello, {}, true, /*side_port=*/true);
  };
  EXPECT_EQ(side("GET", "/readyz")->response().status, 200);
  EXPECT_EQ(side("GET", "/version")->response().status, 200);
  for (const std::string path : {"/v1/chat/completions", "/v1/models", "/tokenize", "/ui"}) {
    EXPECT_EQ(Refusal(side("POST", path), 404), "route_not_found");
  }
}

TEST_F(HttpApiTest, ChatAnswer) {
  PlayText("answer");
  const auto exchange =
      Send("POST", "/v1/chat/completions", kHello,
           {{"x-request-id", "my-id"}, {"content-type", "Application/JSON; charset=utf-8"}});
  ASSERT_TRUE(exchange->WaitForEnd());
  const HttpResponse response = exchange->response();
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(HeaderOf(response, "x-request-id"), "my-id");
  EXPECT_NE(HeaderOf(response, "x-ttft-ms"), "");
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "answer");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 6);
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, ASilentStreamIsKeptAlive) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream, {}, /*eager=*/false);
  const auto request = engine_.WaitForRequest();
  ASSERT_TRUE(request);
  const auto check_in = [this](int64_t ms) {
    front_.streams().CheckAll(clock_.NowUs() + ms * 1000);
  };
  check_in(14'000);
  EXPECT_EQ(exchange->stream(), "");
  EXPECT_FALSE(exchange->head());
  check_in(15'000);
  EXPECT_EQ(exchange->stream(), ":\n\n");
  check_in(60'000);  // the client has not taken the first
  EXPECT_EQ(exchange->writes().size(), 1U);
  exchange->FinishWrite(true);
  check_in(14'000);
  EXPECT_EQ(exchange->writes().size(), 1U);
  check_in(15'000);
  EXPECT_EQ(exchange->writes().size(), 2U);
  exchange->BeEager();
  front_.router().Post(TextEvents(request->id, "answer", FinishReason::kLength));
  ASSERT_TRUE(exchange->WaitForEnd());
  EXPECT_THAT(exchange->stream(), testing::EndsWith("data: [DONE]\n\n"));
  check_in(60'000);
  EXPECT_THAT(exchange->stream(), testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, AnErrorAfterAKeptAliveStreamIsAnEvent) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream);
  const auto request = engine_.WaitForRequest();
  ASSERT_TRUE(request);
  front_.streams().CheckAll(clock_.NowUs() + 60'000'000);
  EXPECT_EQ(exchange->stream(), ":\n\n");
  TokenEvent ended;
  ended.request = request->id;
  ended.finish = FinishReason::kQueueTimeout;
  front_.router().Post({ended});
  ASSERT_TRUE(exchange->WaitForEnd());
  EXPECT_THAT(exchange->stream(), HasSubstr("queue_timeout"));
  EXPECT_THAT(exchange->stream(), testing::Not(HasSubstr("[DONE]")));
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, ChatStream) {
  PlayText("answer");
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream);
  ASSERT_TRUE(exchange->WaitForEnd());
  ASSERT_TRUE(exchange->head());
  EXPECT_EQ(exchange->head()->content_type, "text/event-stream; charset=utf-8");
  EXPECT_TRUE(exchange->complete());
  EXPECT_FALSE(exchange->wrong());
  std::string text;
  std::vector<json> chunks;
  std::string rest = exchange->stream();
  for (size_t end; (end = rest.find("\n\n")) != std::string::npos; rest.erase(0, end + 2)) {
    const std::string event = rest.substr(0, end);
    ASSERT_EQ(event.substr(0, 6), "data: ");
    if (event == "data: [DONE]") break;
    chunks.push_back(json::parse(event.substr(6)));
  }
  EXPECT_EQ(rest, "data: [DONE]\n\n");
  ASSERT_GE(chunks.size(), 2U);
  EXPECT_EQ(chunks[0]["choices"][0]["delta"]["role"], "assistant");
  for (size_t i = 0; i < chunks.size(); ++i) {
    const json& choice = chunks[i]["choices"][0];
    EXPECT_EQ(chunks[i]["id"], chunks[0]["id"]);
    EXPECT_FALSE(chunks[i].contains("usage"));
    EXPECT_EQ(choice["delta"].contains("role"), i == 0);
    EXPECT_EQ(choice["finish_reason"].is_null(), i + 1 < chunks.size());
    if (choice["delta"].contains("content")) text += choice["delta"]["content"];
  }
  EXPECT_EQ(chunks.back()["choices"][0]["delta"], json::object());
  EXPECT_EQ(text, "answer");
}

TEST_F(HttpApiTest, UsageWhenAsked) {
  PlayText("x");
  const auto exchange =
      Send("POST", "/v1/completions",
           R"({"prompt": "hi", "stream": true, "stream_options": {"include_usage": true}})");
  ASSERT_TRUE(exchange->WaitForEnd());
  EXPECT_THAT(exchange->stream(), HasSubstr(R"("usage":null)"));
  EXPECT_THAT(exchange->stream(), HasSubstr(R"("choices":[],"usage":{"prompt_tokens":3,)"));
}

TEST_F(HttpApiTest, BadRequestsBeforeTheEngine) {
  EXPECT_EQ(Refusal(Send("POST", "/v1/chat/completions", "{"), 400), "invalid_json");
  EXPECT_EQ(Refusal(Send("POST", "/v1/chat/completions", "{}"), 400), "invalid_message");
  EXPECT_EQ(Refusal(Send("POST", "/v1/completions", R"({"prompt": ""} x)"), 400), "invalid_json");
  EXPECT_EQ(Refusal(Send("POST", "/v1/chat/completions", R"({"model": "other"})"), 404),
            "model_not_found");
  EXPECT_EQ(
      Refusal(Send("POST", "/v1/chat/completions", kHello, {{"content-type", "text/plain"}}), 415),
      "unsupported_media_type");
  EXPECT_EQ(Refusal(Send("POST", "/tokenize", "{}", {{"content-encoding", "gzip"}}), 415),
            "unsupported_media_type");
  EXPECT_EQ(
      Refusal(Send("POST", "/v1/chat/completions", kHello, {{"x-request-timeout-ms", "-1"}}), 400),
      "invalid_parameter");
  EXPECT_EQ(
      Refusal(Send("POST", "/v1/chat/completions", kHello, {{"x-request-timeout-ms", "1s"}}), 400),
      "invalid_parameter");
  EXPECT_EQ(
      Refusal(Send("POST", "/v1/chat/completions", kHello, {{"x-request-timeout-ms", "0"}}), 504),
      "deadline");
  // A bad stream is refused as any other request: nothing was sent yet.
  const auto bad =
      Send("POST", "/v1/chat/completions",
           R"({"messages": [{"role": "user", "content": "x"}], "stream": true, "n": 99})");
  EXPECT_EQ(Refusal(bad, 400), "invalid_parameter");
  EXPECT_EQ(json::parse(bad->response().body)["error"]["param"], "n");
  EXPECT_FALSE(bad->head());
  EXPECT_EQ(engine_.submitted(), 0U);
  EXPECT_EQ(front_.accounting().Snapshot().accepted, 0U);
}

TEST_F(HttpApiTest, TheTimeoutHeaderIsTheDeadline) {
  const auto exchange =
      Send("POST", "/v1/chat/completions", kHello, {{"x-request-timeout-ms", "5000"}});
  const auto spec = engine_.WaitForRequest();
  ASSERT_TRUE(spec);
  EXPECT_LE(spec->deadline_us, clock_.NowUs() + 5'000'000);
  EXPECT_GT(spec->deadline_us, clock_.NowUs());
  engine_.Post({End(spec->id, FinishReason::kDeadline)});
  EXPECT_EQ(Refusal(exchange, 504), "deadline");
  EXPECT_EQ(HeaderOf(exchange->response(), "x-should-retry"), "false");
}

TEST_F(HttpApiTest, RefusalsSayWhenToTryAgain) {
  engine_.RefuseWith(QueueFullError("the queue"));
  const auto full = Send("POST", "/v1/chat/completions", kHelloStream);
  EXPECT_EQ(Refusal(full, 429), "queue_full");
  EXPECT_EQ(HeaderOf(full->response(), "retry-after"), "1");
  EXPECT_EQ(HeaderOf(full->response(), "retry-after-ms"), "1000");
  EXPECT_EQ(HeaderOf(full->response(), "x-should-retry"), "true");
  front_.accounting().Close();
  EXPECT_EQ(Refusal(Send("POST", "/v1/chat/completions", kHello), 503), "draining");
  EXPECT_EQ(Refusal(Send("GET", "/v1/models"), 503), "draining");
}

TEST_F(HttpApiTest, AnErrorAfterTheFirstByteIsAnEvent) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream);
  const auto spec = engine_.WaitForRequest();
  ASSERT_TRUE(spec);
  engine_.Post({Token(spec->id, 'a')});
  ASSERT_TRUE(exchange->WaitForWrites(1));
  engine_.Post({Token(spec->id, 'b'), End(spec->id, FinishReason::kCorrupted)});
  ASSERT_TRUE(exchange->WaitForEnd());
  const std::string stream = exchange->stream();
  EXPECT_THAT(stream, HasSubstr(R"("content":"b")"));  // what came before is valid
  const size_t at = stream.find("event: error\ndata: ");
  ASSERT_NE(at, std::string::npos) << stream;
  const json error = json::parse(stream.substr(at + 19));
  EXPECT_EQ(error["error"]["code"], "corrupted_logits");
  EXPECT_EQ(error["error"]["type"], "server_error");
  EXPECT_THAT(stream, testing::Not(HasSubstr("[DONE]")));
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, ASlowClientGetsLargerWritesThenIsDropped) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream, {}, /*eager=*/false);
  const auto spec = engine_.WaitForRequest();
  ASSERT_TRUE(spec);
  engine_.Post({Token(spec->id, 'a')});
  ASSERT_TRUE(exchange->WaitForWrites(1));
  for (int i = 0; i < 50; ++i) engine_.Post({Token(spec->id, 'b')});
  for (int i = 0; i < 200 && front_.accounting().Snapshot().live > 0; ++i) {
    engine_.Post({Token(spec->id, ByteTokenizer::kLong)});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(engine_.WaitForCancel(spec->id));
  EXPECT_EQ(exchange->writes().size(), 1U);  // one write is out, whatever comes
  exchange->BeEager();
  ASSERT_TRUE(exchange->WaitForEnd());
  EXPECT_THAT(exchange->stream(), HasSubstr("slow_consumer"));
  EXPECT_EQ(exchange->writes().size(), 2U);
  EXPECT_LT(exchange->stream().size(), 10'000U);
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, OneLargeDeliveryIsNotASlowClient) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream);
  const auto spec = engine_.WaitForRequest();
  ASSERT_TRUE(spec);
  const std::string long_text(6'000, 'x');  // and 4 KiB may wait
  engine_.Post(TextEvents(spec->id, long_text, FinishReason::kLength));
  ASSERT_TRUE(exchange->WaitForEnd());
  EXPECT_THAT(exchange->stream(), HasSubstr(long_text));
  EXPECT_THAT(exchange->stream(), HasSubstr("[DONE]"));
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, MergedDeltas) {
  const auto exchange = Send("POST", "/v1/chat/completions", kHelloStream, {}, /*eager=*/false);
  const auto spec = engine_.WaitForRequest();
  ASSERT_TRUE(spec);
  engine_.Post({Token(spec->id, 'a')});
  ASSERT_TRUE(exchange->WaitForWrites(1));
  engine_.Post(TextEvents(spec->id, "bcdef", FinishReason::kLength));
  while (front_.accounting().Snapshot().live > 0) std::this_thread::yield();
  exchange->BeEager();
  ASSERT_TRUE(exchange->WaitForEnd());
  ASSERT_EQ(exchange->writes().size(), 2U);
  EXPECT_THAT(exchange->writes()[1], HasSubstr(R"("content":"bcdef")"));
  EXPECT_THAT(exchange->writes()[1], testing::EndsWith("data: [DONE]\n\n"));
  EXPECT_FALSE(exchange->wrong());
}

TEST_F(HttpApiTest, ADisconnectCancels) {
  for (const char* body : {kHello, kHelloStream}) {
    const auto exchange = Send("POST", "/v1/chat/completions", body, {}, /*eager=*/false);
    const auto spec = engine_.WaitForRequest();
    ASSERT_TRUE(spec);
    engine_.Post({Token(spec->id, 'a')});
    exchange->Disconnect();
    EXPECT_TRUE(engine_.WaitForCancel(spec->id));
    EXPECT_EQ(exchange->ends(), 0);
    EXPECT_EQ(front_.accounting().Snapshot().live, 0U);
  }
  EXPECT_EQ(front_.accounting().Snapshot().cancelled, 2U);
}

TEST_F(HttpApiTest, DisconnectsAtAnyMoment) {
  engine_.Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "abc", FinishReason::kLength); });
  for (int i = 0; i < 300; ++i) {
    const auto exchange =
        Send("POST", "/v1/chat/completions", i % 2 == 0 ? kHello : kHelloStream, {}, i % 3 > 0);
    for (int spin = 0; spin < i * 20; ++spin) std::atomic_signal_fence(std::memory_order_seq_cst);
    exchange->Disconnect();
  }
  while (front_.accounting().Snapshot().live > 0 || front_.tokenizers().queued() > 0) {
    std::this_thread::yield();
  }
  const RequestCounts counts = front_.accounting().Snapshot();
  EXPECT_EQ(counts.accepted, counts.finished + counts.cancelled);
}

TEST_F(HttpApiTest, NobodyHoldsAnExchangeThatEnded) {
  PlayText("answer");
  std::vector<std::weak_ptr<FakeExchange>> all;
  for (const char* body : {kHello, kHelloStream, "{"}) {
    const auto exchange = Send("POST", "/v1/chat/completions", body);
    ASSERT_TRUE(exchange->WaitForEnd());
    all.push_back(exchange);
    exchange->Disconnect();  // a connection lets go of the events when it is done
  }
  for (const auto& exchange : all) {
    for (int i = 0; i < 10'000 && !exchange.expired(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(exchange.expired());
  }
}

TEST_F(HttpApiTest, FullPoolRefuses) {
  ServerOptions options = HttpOptions();
  options.tokenizer_queue = 1;
  options.tokenizer_threads = 1;
  FrontEnd front(options, clock_, entropy_, nullptr);
  FakeEngine engine(front.router());
  front.Attach(HttpModel(), engine);
  front.SetState(ServerState::kReady);
  HttpApi api(front);
  std::mutex gate;
  gate.lock();
  ASSERT_TRUE(front.tokenizers().TryRun([&] { std::lock_guard wait(gate); }));
  while (!front.tokenizers().TryRun([] {})) std::this_thread::yield();
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers = {{"content-type", "application/json"}};
  request.body = kHello;
  std::shared_ptr<FakeExchange> exchange;
  do {  // the second job may still be on its way to the thread
    exchange = std::make_shared<FakeExchange>();
    api.MainHandler()(HttpRequest(request), exchange);
  } while (exchange->ends() == 0);
  gate.unlock();
  EXPECT_EQ(exchange->response().status, 429);
}

// A tenant at its limit costs nobody anything: its bodies wait nowhere and are not read.
TEST_F(HttpApiTest, LimitsComeBeforeTheBodyIsRead) {
  ServerOptions options = HttpOptions();
  options.tokenizer_threads = 1;
  // sha256 of "one"
  auto ring = KeyRing::Parse(
      "keys:\n  - id: first\n    max_concurrent: 1\n"
      "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n",
      "test");
  ASSERT_TRUE(ring.ok());
  options.api_keys = *ring;
  FrontEnd front(options, clock_, entropy_, nullptr);
  FakeEngine engine(front.router());
  front.Attach(HttpModel(), engine);
  front.SetState(ServerState::kReady);
  HttpApi api(front);
  const auto ask = [&](const std::string& body) {
    HttpRequest request;
    request.method = "POST";
    request.path = "/v1/chat/completions";
    request.headers = {{"content-type", "application/json"}, {"authorization", "Bearer one"}};
    request.body = body;
    auto exchange = std::make_shared<FakeExchange>();
    api.MainHandler()(std::move(request), exchange);
    return exchange;
  };
  std::mutex gate;
  gate.lock();
  ASSERT_TRUE(front.tokenizers().TryRun([&] { std::lock_guard wait(gate); }));
  const auto waiting = ask("{");
  const auto refused = ask(kHello);
  EXPECT_EQ(waiting->ends(), 0);
  EXPECT_EQ(refused->ends(), 1);  // at once
  gate.unlock();
  EXPECT_EQ(Refusal(refused, 429), "rate_limited");
  // A bad body gives its place back before the client hears of it.
  Refusal(waiting, 400);
  engine.Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "yes", FinishReason::kLength); });
  const auto answered = ask(kHello);
  ASSERT_TRUE(answered->WaitForEnd());
  EXPECT_EQ(answered->response().status, 200);
  front.authorizer().limiter().CheckIntegrity();
}

TEST_F(HttpApiTest, ModelsAndTokens) {
  EXPECT_EQ(json::parse(Send("GET", "/v1/models")->response().body)["data"][0]["id"], "m");
  EXPECT_EQ(json::parse(Send("GET", "/v1/models/m")->response().body)["object"], "model");
  EXPECT_EQ(Send("GET", "/v1/models/org/alias")->response().status, 200);
  EXPECT_EQ(Send("GET", "/v1/models/org%2Falias")->response().status, 200);
  EXPECT_EQ(Refusal(Send("GET", "/v1/models/..%2fm"), 404), "model_not_found");
  const auto tokens = Send("POST", "/tokenize", R"({"prompt": "ab", "return_token_strs": true})");
  ASSERT_TRUE(tokens->WaitForEnd());
  EXPECT_EQ(json::parse(tokens->response().body),
            json::parse(R"({"count": 3, "max_model_len": 1000, "tokens": [256, 97, 98],
                            "token_strs": ["<bos>", "a", "b"]})"));
  const auto chat = Send("POST", "/tokenize", kHello);
  ASSERT_TRUE(chat->WaitForEnd());
  EXPECT_GT(json::parse(chat->response().body)["count"], 5);
  const auto text = Send("POST", "/detokenize", R"({"tokens": [97, 98]})");
  ASSERT_TRUE(text->WaitForEnd());
  EXPECT_EQ(text->response().body, R"({"prompt":"ab"})");
  EXPECT_EQ(Refusal(Send("POST", "/detokenize", R"({"tokens": [300]})"), 400), "invalid_token_id");
}

}  // namespace
}  // namespace inferd
