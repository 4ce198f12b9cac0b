// The HTTP side of the load client against a server of canned answers.
#include "serve_load/openai_target.h"

#include <httplib.h>

#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "serve_load/run.h"

namespace inferd::bench {
namespace {

class CannedServer {
 public:
  explicit CannedServer(const std::string& events, int status = 200, std::string key = "")
      : key_(std::move(key)) {
    server_.set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          if (key_.empty() || request.get_header_value("Authorization") == "Bearer " + key_) {
            return httplib::Server::HandlerResponse::Unhandled;
          }
          response.status = 401;
          return httplib::Server::HandlerResponse::Handled;
        });
    server_.Get("/v1/models", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(R"({"data":[{"meta":{"n_vocab":1000}}]})", "application/json");
    });
    server_.Post("/v1/completions",
                 [events, status](const httplib::Request& request, httplib::Response& response) {
                   const auto body = nlohmann::json::parse(request.body, nullptr, false);
                   response.status = body.is_object() && body["prompt"].size() == 6 ? status : 400;
                   response.set_content(events, "text/event-stream");
                 });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~CannedServer() {
    server_.stop();
    thread_.join();
  }
  LoadOptions Options() const {
    LoadOptions options;
    options.address = "127.0.0.1:" + std::to_string(port_);
    options.protocol = Protocol::kOpenAi;
    options.concurrency = 3;
    options.requests = 7;
    options.prompt_tokens = {6, 6};
    options.timeout_s = 10;
    return options;
  }

 private:
  const std::string key_;  // that every request must show; empty: none
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

RunRecord RunAgainst(const CannedServer& server) {
  const LoadOptions options = server.Options();
  const std::unique_ptr<Target> target = MakeOpenAiTarget(options);
  const StatusOr<int32_t> vocab_size = target->VocabSize();
  EXPECT_TRUE(vocab_size.ok());
  if (!vocab_size.ok()) return {};
  EXPECT_EQ(*vocab_size, 1000);
  return RunLoad(options, *vocab_size, *target);
}

TEST(OpenAiTarget, CountsTokensAndTrustsUsage) {
  const CannedServer server(
      "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"
      "data: {\"choices\":[{\"text\":\"b\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"completion_tokens\":4,\"prompt_tokens_details\":"
      "{\"cached_tokens\":2}}}\n\n"
      "data: [DONE]\n\n");
  const RunRecord run = RunAgainst(server);
  ASSERT_EQ(run.requests.size(), 7U);
  for (const RequestRecord& r : run.requests) {
    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(r.output_tokens, 4);
    EXPECT_EQ(r.gaps.size(), 1U);
    EXPECT_EQ(r.cached_tokens, 2);
    EXPECT_EQ(r.prompt_tokens, 6);
    EXPECT_GT(r.ttft(), 0);
    EXPECT_GE(r.e2e(), r.ttft());
  }
}

TEST(OpenAiTarget, ShowsTheKey) {
  const CannedServer server("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", 200,
                            "sk-inferd-right");
  LoadOptions options = server.Options();
  const StatusOr<int32_t> refused = MakeOpenAiTarget(options)->VocabSize();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message(), "/v1/models answers 401");
  options.api_key = "sk-inferd-right";
  const std::unique_ptr<Target> target = MakeOpenAiTarget(options);
  ASSERT_TRUE(target->VocabSize().ok());
  for (const RequestRecord& r : RunLoad(options, 1000, *target).requests) EXPECT_EQ(r.code, 0);
}

TEST(OpenAiTarget, AnAnswerWithoutItsEndIsAnError) {
  const CannedServer server("data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
  for (const RequestRecord& r : RunAgainst(server).requests) {
    EXPECT_EQ(r.code, static_cast<int>(StatusCode::kInternal));
  }
}

TEST(OpenAiTarget, AnErrorAmongTheEventsIsAnError) {
  const CannedServer server("data: {\"error\":{\"message\":\"full\"}}\n\ndata: [DONE]\n\n");
  for (const RequestRecord& r : RunAgainst(server).requests) {
    EXPECT_EQ(r.code, static_cast<int>(StatusCode::kInternal));
  }
}

TEST(OpenAiTarget, TellsHttpErrorsApart) {
  const CannedServer server("{}", 503);
  for (const RequestRecord& r : RunAgainst(server).requests) {
    EXPECT_EQ(r.code, static_cast<int>(StatusCode::kUnavailable));
  }
}

TEST(OpenAiTarget, NobodyThereIsUnavailable) {
  LoadOptions options;
  options.address = "127.0.0.1:1";
  EXPECT_EQ(MakeOpenAiTarget(options)->VocabSize().status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace inferd::bench
