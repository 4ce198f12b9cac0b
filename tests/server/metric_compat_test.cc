// vLLM's names, the choice of names, and that no label is the clients' to choose.
#include <set>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "harness.h"
#include "inferd/net/http2_limits.h"

namespace inferd {
namespace {

// The families that a scrape has, by their TYPE lines.
std::set<std::string> FamiliesOf(const std::string& text) {
  std::set<std::string> names;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("# TYPE ", 0) == 0) names.insert(line.substr(7, line.find(' ', 7) - 7));
  }
  return names;
}

std::set<std::string> VllmFamilies(const std::string& compat) {
  ServerOptions options = TestOptions();
  options.metrics_compat = compat;
  Harness h(options);
  std::set<std::string> names;
  for (const std::string& name : FamiliesOf(h.HttpGet("/metrics"))) {
    if (name.rfind("vllm:", 0) == 0) names.insert(name);
  }
  return names;
}

TEST(MetricCompatTest, EachModeHasItsNames) {
  EXPECT_THAT(VllmFamilies("off"), testing::IsEmpty());
  EXPECT_THAT(VllmFamilies("gie"),
              testing::UnorderedElementsAre("vllm:num_requests_waiting",
                                            "vllm:num_requests_running", "vllm:kv_cache_usage_perc",
                                            "vllm:cache_config_info", "vllm:lora_requests_info"));
  const std::set<std::string> all = VllmFamilies("vllm");
  EXPECT_EQ(all.size(), 29U);
  for (const char* name :
       {"vllm:time_to_first_token_seconds", "vllm:prefix_cache_hits_total",
        "vllm:request_success_total", "vllm:iteration_tokens_total", "vllm:lora_requests_info"}) {
    EXPECT_EQ(all.count(name), 1U) << name;
  }
}

TEST(MetricCompatTest, EndpointPickersFindTheirLabels) {
  Harness h;
  EngineStats stats;
  stats.waiting = 7;
  stats.blocks_total = 100;
  stats.blocks_used = 25;
  h.engine->SetStats(stats);
  const std::string l = "{model_name=\"test-model\",engine=\"0\"";
  EXPECT_EQ(h.Metric("vllm:num_requests_waiting" + l + "}"), 7);
  EXPECT_EQ(h.Metric("vllm:kv_cache_usage_perc" + l + "}"), 0.25);
  EXPECT_EQ(h.Metric("vllm:cache_config_info" + l +
                     ",block_size=\"16\",num_gpu_blocks=\"64\",cache_dtype=\"f32\","
                     "enable_prefix_caching=\"true\"}"),
            1);
  EXPECT_GT(h.Metric("vllm:lora_requests_info" + l +
                     ",max_lora=\"0\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"}"),
            1.6e9);
}

TEST(MetricCompatTest, TheListenersSeriesExistFromTheStart) {
  Harness h;
  EXPECT_GE(h.Metric("inferd_connections_active"), 0);
  for (const char* reason : {"total", "per_address", "too_fast", "shut_out"}) {
    EXPECT_EQ(h.Metric("inferd_connections_refused_total{reason=\"" + std::string(reason) + "\"}"),
              0);
  }
  for (size_t i = 0; i < kNumHttp2Violations; ++i) {
    const std::string kind(Http2ViolationName(static_cast<Http2Violation>(i)));
    EXPECT_EQ(h.Metric("inferd_http2_violations_total{kind=\"" + kind + "\"}"), 0) << kind;
  }
}

TEST(MetricCompatTest, ClientsChooseNoLabel) {
  Harness h;
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "x", FinishReason::kLength); });
  ASSERT_TRUE(StreamChat(h, Ask("warm up")).status.ok());
  // gRPC's own series come with the first call of a method that ends so.
  v1::ChatCompletionRequest refused = Ask("warm up");
  refused.set_model("no such model");
  v1::ChatCompletion no_answer;
  grpc::ClientContext refused_context;
  EXPECT_FALSE(h.chat->CreateChatCompletion(&refused_context, refused, &no_answer).ok());
  // gRPC counts a call after its client has the status.
  const std::string ended =
      "grpc_server_call_duration_seconds_count{grpc_method=\"inferd.v1.ChatService/";
  const std::string not_found = ended + "CreateChatCompletion\",grpc_status=\"NOT_FOUND\"}";
  ASSERT_TRUE(h.WaitForMetric(ended + "StreamChatCompletion\",grpc_status=\"OK\"}", 1));
  ASSERT_TRUE(h.WaitForMetric(not_found, 1));
  const auto series = [&] {
    std::set<std::string> all;
    std::istringstream lines(h.HttpGet("/metrics"));
    std::string line;
    while (std::getline(lines, line)) {
      if (!line.empty() && line[0] != '#') all.insert(line.substr(0, line.rfind(' ')));
    }
    return all;
  };
  const std::set<std::string> before = series();
  // Everything a client may write its own text into.
  grpc::ClientContext context;
  for (const char* name : {"x-request-id", "authorization", "x-api-key", "user-agent-of-mine"}) {
    context.AddMetadata(name, "client-text");
  }
  context.AddMetadata("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  v1::ChatCompletionRequest request = Ask("client-text");
  request.set_model("client-text");
  request.set_user("client-text");
  request.set_cache_salt("client-text");
  v1::ChatCompletion answer;
  EXPECT_FALSE(h.chat->CreateChatCompletion(&context, request, &answer).ok());
  ASSERT_TRUE(h.WaitForMetric(not_found, 2));
  const std::set<std::string> after = series();
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace inferd
