// Requests as spans at a collector.
#include "gtest/gtest.h"
#include "harness.h"
#include "trace/fake_collector.h"

namespace inferd {
namespace {

class TraceTest : public testing::Test {
 protected:
  TraceTest() {
    ServerOptions options = TestOptions();
    options.trace_endpoint = collector_.address();
    options.trace_sample_ratio = 0;
    harness_ = std::make_unique<Harness>(options);
    harness_->engine->Play(
        [](const RequestSpec& spec) { return TextEvents(spec.id, "word", FinishReason::kLength); });
  }
  grpc::Status AskWith(const std::string& traceparent, const std::string& model = "") {
    grpc::ClientContext context;
    if (!traceparent.empty()) context.AddMetadata("traceparent", traceparent);
    context.AddMetadata("x-request-id", "the-request");
    v1::ChatCompletionRequest request = Ask("a secret question");
    request.set_model(model);
    request.set_max_completion_tokens(4);
    request.set_seed(7);
    request.add_stop("secret stop");
    v1::ChatCompletion answer;
    return harness_->chat->CreateChatCompletion(&context, request, &answer);
  }
  // By name; a string whatever the type.
  static std::map<std::string, std::string> AttributesOf(
      const opentelemetry::proto::trace::v1::Span& span) {
    std::map<std::string, std::string> all;
    for (const auto& attribute : span.attributes()) {
      const auto& value = attribute.value();
      all[attribute.key()] =
          value.has_int_value() ? std::to_string(value.int_value()) : value.string_value();
    }
    return all;
  }

  FakeCollector collector_;
  std::unique_ptr<Harness> harness_;
};

constexpr char kSampled[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr char kUnsampled[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

TEST_F(TraceTest, OneSpanPerSampledRequest) {
  ASSERT_TRUE(AskWith(kSampled).ok());
  ASSERT_TRUE(AskWith(kUnsampled).ok());
  ASSERT_TRUE(AskWith("").ok());
  EXPECT_FALSE(AskWith(kSampled, "no-such-model").ok());
  harness_->server->Shutdown(0);  // which flushes
  const auto spans = collector_.Spans();
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].name(), "chat test-model");
  EXPECT_EQ(spans[0].trace_id().size(), 16U);
  EXPECT_EQ(spans[0].parent_span_id().size(), 8U);
  EXPECT_NE(spans[0].span_id(), spans[1].span_id());
  EXPECT_GE(spans[0].end_time_unix_nano(), spans[0].start_time_unix_nano());
  auto facts = AttributesOf(spans[0]);
  EXPECT_EQ(facts["gen_ai.operation.name"], "chat");
  EXPECT_EQ(facts["gen_ai.request.max_tokens"], "4");
  EXPECT_EQ(facts["gen_ai.request.seed"], "7");
  EXPECT_EQ(facts["gen_ai.usage.output_tokens"], "4");
  EXPECT_EQ(facts["gen_ai.response.finish_reasons"], "length");
  EXPECT_EQ(facts["rpc.method"], "inferd.v1.ChatService/CreateChatCompletion");
  EXPECT_EQ(facts["rpc.response.status_code"], "OK");
  EXPECT_EQ(facts["inferd.request_id"], "the-request");
  EXPECT_EQ(facts.count("error.type"), 0U);
  EXPECT_EQ(AttributesOf(spans[1])["error.type"], "MODEL_NOT_FOUND");
  EXPECT_EQ(spans[1].status().code(), opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR);
  for (const auto& span : spans) {
    EXPECT_EQ(span.DebugString().find("secret"), std::string::npos);
    EXPECT_EQ(span.DebugString().find("no-such-model"), std::string::npos);
  }
}

// Or whoever reaches the port could fill the collector, and crowd out the others.
TEST_F(TraceTest, NoSpansOfWhoMayNotCome) {
  ServerOptions options = TestOptions();
  options.trace_endpoint = collector_.address();
  auto ring = KeyRing::Parse(
      "keys:\n  - id: first\n"
      "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n",
      "test");
  ASSERT_TRUE(ring.ok());
  options.api_keys = *ring;
  harness_ = std::make_unique<Harness>(options);
  EXPECT_EQ(AskWith(kSampled).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  harness_->server->Shutdown(0);
  EXPECT_EQ(collector_.Spans().size(), 0U);
}

TEST_F(TraceTest, ACollectorThatHangsDelaysNobody) {
  collector_.Hold(true);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(AskWith(kSampled).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(harness_->Metric("inferd_trace_spans_total{outcome=\"exported\"}"), 0);
  const auto end = std::chrono::steady_clock::now();
  harness_->server->Shutdown(0);
  EXPECT_LT(std::chrono::steady_clock::now() - end, std::chrono::seconds(8));
}

}  // namespace
}  // namespace inferd
