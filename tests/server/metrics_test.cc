// What /metrics says, and the access log.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "harness.h"
#include "nlohmann/json.hpp"

namespace inferd {
namespace {

EngineStats SomeStats() {
  static const double kBounds[] = {1, 10, 100};
  EngineStats stats;
  stats.waiting = 7;
  stats.waiting_deferred = 3;
  stats.blocks_total = 100;
  stats.blocks_used = 25;
  stats.blocks_cached = 5;
  stats.prompt_tokens = 70;
  stats.prompt_tokens_cached = 20;
  stats.iteration_tokens = Histogram(kBounds);
  stats.iteration_tokens.Observe(5);
  stats.iteration_tokens.Observe(500);
  stats.step_seconds_prefill = stats.step_seconds_decode = stats.step_seconds_mixed =
      Histogram(kBounds);
  return stats;
}

TEST(MetricsTest, SeriesExistBeforeAnyRequest) {
  Harness h;
  h.engine->SetStats(SomeStats());
  const std::string l = "{model_name=\"test-model\",engine=\"0\"";
  EXPECT_EQ(h.Metric("inferd_requests_total{code=\"OK\",method=\"ChatService/"
                     "StreamChatCompletion\"}"),
            0);
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"queue_full\"}"), 0);
  EXPECT_EQ(h.Metric("inferd_requests_accepted_total"), 0);
  EXPECT_EQ(h.Metric("inferd_kv_cache_usage_ratio" + l + "}"), 0.25);
  EXPECT_EQ(h.Metric("inferd_kv_cache_blocks" + l + ",state=\"free\"}"), 70);
  EXPECT_EQ(h.Metric("inferd_prompt_tokens_by_source_total" + l + ",source=\"local_compute\"}"),
            50);
  EXPECT_EQ(h.Metric("inferd_iteration_tokens_bucket" + l + ",le=\"10\"}"), 1);
  EXPECT_EQ(h.Metric("inferd_iteration_tokens_count" + l + "}"), 2);
  EXPECT_EQ(h.Metric("inferd_num_requests_waiting" + l + "}"), 7);
  EXPECT_EQ(h.Metric("inferd_num_requests_waiting_by_reason" + l + ",reason=\"capacity\"}"), 4);
  EXPECT_EQ(h.Metric("inferd_num_requests_waiting_by_reason" + l + ",reason=\"deferred\"}"), 3);
  EXPECT_EQ(h.Metric("inferd_cache_config_info" + l +
                     ",block_size=\"16\",num_blocks=\"64\",cache_dtype=\"f32\","
                     "enable_prefix_caching=\"true\"}"),
            1);
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"deadline\"}"), 0);
  const std::string sorted = "{engine=\"0\",model_name=\"test-model\"}";
  for (const char* name : {"request_params_max_tokens", "request_prefill_kv_computed_tokens",
                           "stream_write_backlog_tokens"}) {
    EXPECT_EQ(h.Metric("inferd_" + std::string(name) + "_count" + sorted), 0) << name;
  }
  EXPECT_EQ(h.Metric("inferd_server_state{state=\"ready\"}"), 1);
  EXPECT_GT(h.Metric("process_resident_memory_bytes"), 1e6);
  EXPECT_EQ(h.Metric("inferd_request_success_total{engine=\"0\",finished_reason=\"stop\","
                     "model_name=\"test-model\"}"),
            0);
}

TEST(MetricsTest, DevicesSayWhatTheyKnow) {
  Harness h(TestOptions(), /*attach=*/false);
  static const double kBounds[] = {1, 10};
  EngineStats stats = SomeStats();
  stats.device_seconds_prefill = stats.device_seconds_mixed = stats.device_seconds_decode =
      Histogram(kBounds);
  stats.device_seconds_decode.Observe(2);
  h.engine->SetStats(stats);
  ServedModel model = TestModel();
  model.devices = {{0, 0, "big", "0000:40:00.0", {{"weights", 70}, {"free", 30}}},
                   {1, 1, "big", "0000:3f:00.0", {{"weights", 71}, {"free", 29}}}};
  model.read_devices = [] {
    std::vector<DeviceReading> readings(2);
    readings[1].power_watts = 250.5;
    return readings;
  };
  h.server->Attach(model, *h.engine);
  const std::string first = "{rank=\"0\",gpu=\"0\"";
  const std::string second = "{rank=\"1\",gpu=\"1\"";
  EXPECT_EQ(h.Metric("inferd_gpu_info" + second + ",name=\"big\",pci_bus_id=\"0000:3f:00.0\"}"), 1);
  EXPECT_EQ(h.Metric("inferd_gpu_memory_bytes" + first + ",kind=\"weights\"}"), 70);
  EXPECT_EQ(h.Metric("inferd_gpu_memory_bytes" + second + ",kind=\"free\"}"), 29);
  EXPECT_EQ(h.Metric("inferd_gpu_power_watts" + second + "}"), 250.5);
  const std::string kernels = "inferd_engine_step_kernel_seconds_count{model_name=\"test-model\",";
  EXPECT_EQ(h.Metric(kernels + "engine=\"0\",kind=\"decode\"}"), 1);
  EXPECT_EQ(h.Metric(kernels + "engine=\"0\",kind=\"prefill\"}"), 0);
  // What nobody says is not there.
  const std::string page = h.HttpGet("/metrics");
  EXPECT_EQ(page.find("inferd_gpu_power_watts" + first), std::string::npos);
  EXPECT_EQ(page.find("inferd_gpu_temperature_celsius"), std::string::npos);
}

TEST(MetricsTest, ProcessorsHaveNoDeviceSeries) {
  Harness h;
  h.engine->SetStats(SomeStats());
  const std::string page = h.HttpGet("/metrics");
  EXPECT_EQ(page.find("inferd_gpu"), std::string::npos);
  EXPECT_EQ(page.find("inferd_engine_step_kernel"), std::string::npos);
}

TEST(MetricsTest, PromtoolFindsNothingToComplainOf) {
  if (std::system("command -v promtool > /dev/null") != 0) GTEST_SKIP() << "promtool is missing";
  ServerOptions options = TestOptions();
  options.metrics_compat = "off";  // it objects to the others' names
  Harness h(options);
  h.engine->SetStats(SomeStats());
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "text", FinishReason::kLength); });
  ASSERT_TRUE(StreamChat(h, Ask("hi")).status.ok());
  const std::string path = testing::TempDir() + "/inferd_metrics.txt";
  std::ofstream(path) << h.HttpGet("/metrics");
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
  std::remove(path.c_str());
}

TEST(MetricsTest, NamesHaveNoColonAndOneHelpEach) {
  Harness h;
  std::istringstream lines(h.HttpGet("/metrics"));
  std::string line;
  std::set<std::string> names;
  while (std::getline(lines, line)) {
    if (line.rfind("# HELP ", 0) != 0) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_TRUE(name.find(":") == std::string::npos || name.rfind("vllm:", 0) == 0) << name;
  }
  EXPECT_GT(names.size(), 40U);
}

TEST(MetricsTest, CountsConserveWhateverHappens) {
  Harness h;
  std::atomic<int> round{0};
  h.engine->Play([&](const RequestSpec& spec) {
    switch (round++ % 3) {
      case 0:
        return TextEvents(spec.id, "done", FinishReason::kLength);
      case 1:
        return std::vector<TokenEvent>{End(spec.id, FinishReason::kCorrupted)};
      default:
        return std::vector<TokenEvent>{Token(spec.id, 'x')};  // and then nothing
    }
  });
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    while (!stop) {
      std::istringstream lines(h.HttpGet("/metrics"));
      std::string line;
      std::map<std::string, double> values;
      while (std::getline(lines, line)) {
        if (line.empty() || line[0] == '#') continue;
        const size_t space = line.rfind(' ');
        values[line.substr(0, space)] = std::stod(line.substr(space + 1));
      }
      EXPECT_EQ(values["inferd_requests_accepted_total"],
                values["inferd_requests_ended_total{outcome=\"finished\"}"] +
                    values["inferd_requests_ended_total{outcome=\"failed\"}"] +
                    values["inferd_requests_ended_total{outcome=\"cancelled\"}"] +
                    values["inferd_requests_live"]);
    }
  });
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
        auto reader = h.chat->StreamChatCompletion(&context, Ask("hi"));
        v1::ChatCompletionChunk chunk;
        bool only_x = true;
        while (reader->Read(&chunk)) {
          only_x = chunk.choices_size() == 1 && chunk.choices(0).delta().content() == "x";
          if (only_x) context.TryCancel();
        }
        reader->Finish();
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_TRUE(h.WaitForMetric("inferd_requests_live", 0));
  stop = true;
  scraper.join();
  EXPECT_EQ(h.Metric("inferd_requests_accepted_total"), 60);
  EXPECT_EQ(h.Metric("inferd_requests_ended_total{outcome=\"finished\"}"), 20);
  EXPECT_EQ(h.Metric("inferd_requests_ended_total{outcome=\"failed\"}"), 20);
  EXPECT_EQ(h.Metric("inferd_requests_ended_total{outcome=\"cancelled\"}"), 20);
}

TEST(MetricsTest, LatenciesAreObservedAtTheHandOver) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  h.engine->Post({Token(call.spec.id, 'a')});
  v1::ChatCompletionChunk chunk;
  ASSERT_TRUE(call.reader->Read(&chunk));
  const std::string l = "{engine=\"0\",model_name=\"test-model\"}";
  EXPECT_EQ(h.Metric("inferd_time_to_first_token_seconds_count" + l), 1);
  EXPECT_EQ(h.Metric("inferd_inter_token_latency_seconds_count" + l), 0);
  h.engine->Post({Token(call.spec.id, 'b'), Token(call.spec.id, 'c')});
  h.engine->Post({End(call.spec.id, FinishReason::kLength)});
  ASSERT_TRUE(ReadAll(*call.reader).status.ok());
  // Two tokens came together: two observations of half the time.
  EXPECT_EQ(h.Metric("inferd_inter_token_latency_seconds_count" + l), 2);
  EXPECT_EQ(h.Metric("inferd_e2e_request_latency_seconds_count" + l), 1);
  EXPECT_EQ(h.Metric("inferd_request_generation_tokens_sum" + l), 3);
  EXPECT_EQ(h.Metric("inferd_request_params_n_sum" + l), 1);
  EXPECT_EQ(h.Metric("inferd_chat_template_duration_seconds_count" + l), 1);
}

TEST(MetricsTest, SizesOfARequest) {
  Harness h;
  h.engine->Play([](const RequestSpec& spec) {
    std::vector<TokenEvent> events = TextEvents(spec.id, "four", FinishReason::kLength);
    events.front().cached_tokens = 8;
    return events;
  });
  const std::string l = "{engine=\"0\",model_name=\"test-model\"}";
  v1::ChatCompletionRequest request = Ask("hi");
  const Streamed without = StreamChat(h, request);
  ASSERT_TRUE(without.status.ok());
  // No limit was asked for, so none is counted.
  EXPECT_EQ(h.Metric("inferd_request_params_max_tokens_count" + l), 0);
  EXPECT_EQ(h.Metric("inferd_request_max_num_generation_tokens_count" + l), 1);
  EXPECT_EQ(h.Metric("inferd_request_prefill_kv_computed_tokens_sum" + l),
            without.usage->prompt_tokens() - 8);
  request.set_max_completion_tokens(77);
  ASSERT_TRUE(StreamChat(h, request).status.ok());
  EXPECT_EQ(h.Metric("inferd_request_params_max_tokens_count" + l), 1);
  EXPECT_EQ(h.Metric("inferd_request_params_max_tokens_sum" + l), 77);
}

TEST(MetricsTest, TokensThatWaitForASlowClientAreCounted) {
  ServerOptions options = TestOptions();
  options.max_stream_buffer_bytes = 64 << 20;
  Harness h(options, /*attach=*/false);
  h.Attach(4'000'000);
  grpc::ClientContext context;
  auto reader = h.chat->StreamChatCompletion(&context, Ask("hi"));
  const auto spec = h.engine->WaitForRequest();
  ASSERT_TRUE(spec.has_value());
  const std::string sum =
      "inferd_stream_write_backlog_tokens_sum{engine=\"0\",model_name=\"test-model\"}";
  v1::ChatCompletionChunk chunk;
  h.engine->Post({Token(spec->id, 'x')});
  ASSERT_TRUE(reader->Read(&chunk));
  EXPECT_EQ(h.Metric(sum), 0);
  // Nobody reads on: once the connection's window is full, tokens wait.
  int rounds = 0;
  while (h.Metric(sum) == 0 && rounds++ < 1000) {
    h.engine->Post(std::vector<TokenEvent>(20, Token(spec->id, ByteTokenizer::kLong)));
  }
  EXPECT_GT(h.Metric(sum), 0);
  context.TryCancel();
  reader->Finish();
}

TEST(MetricsTest, OnlyARefusalAtTheDoorIsARejection) {
  Harness h;
  const std::string rejected = "inferd_requests_rejected_total{reason=\"deadline\"}";
  h.engine->Play([](const RequestSpec& spec) {
    return std::vector<TokenEvent>{End(spec.id, FinishReason::kDeadline)};
  });
  EXPECT_EQ(StreamChat(h, Ask("hi")).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(h.Metric(rejected), 0);
  ErrorDetail detail;
  detail.reason = "DEADLINE";
  detail.metadata = {{"estimated_wait_ms", "1500"}};
  h.engine->RefuseWith(Status(StatusCode::kDeadlineExceeded, "too near", detail));
  const Streamed refused = StreamChat(h, Ask("hi"));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(refused.status), "DEADLINE");
  EXPECT_EQ(h.Metric(rejected), 1);
}

TEST(MetricsTest, GrpcsOwnCallsAreCountedByMethodAndStatus) {
  Harness h;
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "x", FinishReason::kLength); });
  ASSERT_TRUE(StreamChat(h, Ask("hello")).status.ok());
  v1::ChatCompletionRequest bad = Ask("hello");
  bad.set_max_tokens(-1);
  grpc::ClientContext context;
  v1::ChatCompletion answer;
  EXPECT_FALSE(h.chat->CreateChatCompletion(&context, bad, &answer).ok());

  const auto method = [](const std::string& name) {
    return "{grpc_method=\"inferd.v1.ChatService/" + name + "\"";
  };
  const std::string stream = method("StreamChatCompletion");
  const std::string unary = method("CreateChatCompletion");
  EXPECT_EQ(h.Metric("grpc_server_call_started_total" + stream + "}"), 1);
  EXPECT_EQ(h.Metric("grpc_server_call_started_total" + unary + "}"), 1);
  // The call's end is counted after its client has heard of it.
  const std::string ok = stream + ",grpc_status=\"OK\"}";
  const std::string refused = unary + ",grpc_status=\"INVALID_ARGUMENT\"}";
  for (const std::string& labels : {ok, refused}) {
    ASSERT_TRUE(h.WaitForMetric("grpc_server_call_duration_seconds_count" + labels, 1));
  }
  const std::string sent = "grpc_server_call_sent_total_compressed_message_size_bytes_sum";
  const std::string received = "grpc_server_call_rcvd_total_compressed_message_size_bytes_sum";
  EXPECT_GT(h.Metric(sent + ok), 0);
  EXPECT_EQ(h.Metric(sent + refused), 0);
  EXPECT_EQ(h.Metric(received + ok), Ask("hello").ByteSizeLong());
  EXPECT_EQ(h.Metric(received + refused), bad.ByteSizeLong());
}

TEST(MetricsTest, ReloadsAreReported) {
  Harness h;
  const double at_start = h.Metric("inferd_config_last_reload_success_timestamp_seconds");
  EXPECT_EQ(at_start, h.Metric("inferd_start_time_seconds"));
  EXPECT_EQ(h.Metric("inferd_config_last_reload_successful"), 1);
  h.server->ReportReload(false);
  EXPECT_EQ(h.Metric("inferd_config_last_reload_successful"), 0);
  EXPECT_EQ(h.Metric("inferd_config_last_reload_success_timestamp_seconds"), at_start);
  h.server->ReportReload(true);
  EXPECT_EQ(h.Metric("inferd_config_last_reload_successful"), 1);
  EXPECT_GE(h.Metric("inferd_config_last_reload_success_timestamp_seconds"), at_start);
}

TEST(MetricsTest, ConfiguredBucketsAreUsed) {
  ServerOptions options = TestOptions();
  options.ttft_buckets = {0.123, 4};
  Harness h(options);
  EXPECT_EQ(h.Metric("inferd_time_to_first_token_seconds_bucket{engine=\"0\",model_name="
                     "\"test-model\",le=\"0.123\"}"),
            0);
}

TEST(AccessLogTest, OneLinePerRequestWithoutPrompt) {
  ServerOptions options = TestOptions();
  options.json_logs = true;
  Harness h(options);
  h.engine->Play([](const RequestSpec& spec) {
    return TextEvents(spec.id, "SECRET-ANSWER", FinishReason::kLength);
  });
  auto request = Ask("SECRET-PROMPT");
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "req\"1");
  context.AddMetadata("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  auto reader = h.chat->StreamChatCompletion(&context, request);
  ASSERT_TRUE(ReadAll(*reader).status.ok());
  request.set_n(0);
  StreamChat(h, request);
  std::istringstream lines(h.Log());
  std::vector<nlohmann::json> records;
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("{", 0) == 0) records.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0]["request_id"], "req\"1");
  EXPECT_EQ(records[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(records[0]["model"], "test-model");
  EXPECT_EQ(records[0]["code"], "OK");
  EXPECT_EQ(records[0]["completion_tokens"], 13);
  EXPECT_EQ(records[0]["finish_reason"], "length");
  EXPECT_TRUE(records[0].contains("ttft_ms"));
  EXPECT_EQ(records[1]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(records[1]["reason"], "INVALID_PARAMETER");
  EXPECT_EQ(h.Log().find("SECRET"), std::string::npos);
}

}  // namespace
}  // namespace inferd
