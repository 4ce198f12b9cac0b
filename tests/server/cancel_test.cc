// Requests that end early: by the client, its deadline, its slowness, an error.
#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "harness.h"

namespace inferd {
namespace {

// Waits inside Encode until told to go on.
class GatedTokenizer final : public Tokenizer {
 public:
  StatusOr<std::vector<TokenId>> Encode(std::span<const TextSegment> segments,
                                        bool add) const override {
    ++waiting;
    std::unique_lock lock(mutex);
    opened.wait(lock, [this] { return open; });
    return inner.Encode(segments, add);
  }
  std::string_view TokenBytes(TokenId id) const override { return inner.TokenBytes(id); }
  std::string Decode(std::span<const TokenId> ids, bool skip) const override {
    return inner.Decode(ids, skip);
  }
  bool StripsLeadingSpace() const override { return false; }
  bool IsSpecial(TokenId id) const override { return inner.IsSpecial(id); }
  int32_t vocab_size() const override { return inner.vocab_size(); }
  TokenId bos_id() const override { return inner.bos_id(); }
  TokenId eos_id() const override { return inner.eos_id(); }
  TokenId TokenToId(std::string_view text) const override { return inner.TokenToId(text); }

  void Open() {
    std::lock_guard lock(mutex);
    open = true;
    opened.notify_all();
  }

  ByteTokenizer inner;
  mutable std::atomic<int> waiting{0};
  mutable std::mutex mutex;
  mutable std::condition_variable opened;
  bool open = false;
};

constexpr char kCancelled[] = "inferd_requests_ended_total{outcome=\"cancelled\"}";
constexpr char kFailed[] = "inferd_requests_ended_total{outcome=\"failed\"}";
constexpr char kLive[] = "inferd_requests_live";

TEST(CancelTest, WhileTokensFlow) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  h.engine->Post({Token(call.spec.id, 'a')});
  v1::ChatCompletionChunk chunk;
  ASSERT_TRUE(call.reader->Read(&chunk));
  call.context.TryCancel();
  EXPECT_TRUE(h.engine->WaitForCancel(call.spec.id));
  EXPECT_EQ(call.reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(h.WaitForMetric(kCancelled, 1));
  EXPECT_EQ(h.Metric(kLive), 0);
  // Tokens that were under way do no harm.
  h.engine->Post(TextEvents(call.spec.id, "late", FinishReason::kCancelled));
}

TEST(CancelTest, BeforeTheFirstToken) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  call.context.TryCancel();
  EXPECT_TRUE(h.engine->WaitForCancel(call.spec.id));
  call.reader->Finish();
}

TEST(CancelTest, UnaryCallsToo) {
  Harness h;
  grpc::ClientContext context;
  std::thread canceller([&] {
    const auto spec = h.engine->WaitForRequest();
    ASSERT_TRUE(spec.has_value());
    context.TryCancel();
    EXPECT_TRUE(h.engine->WaitForCancel(spec->id));
  });
  v1::ChatCompletion answer;
  const grpc::Status status = h.chat->CreateChatCompletion(&context, Ask("hi"), &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  canceller.join();
}

TEST(CancelTest, InTheTokenizerPoolNeverReachesTheEngine) {
  ServerOptions options = TestOptions();
  options.tokenizer_threads = 1;
  options.tokenizer_queue = 2;
  Harness h(options, /*attach=*/false);
  auto tokenizer = std::make_shared<GatedTokenizer>();
  ServedModel model = TestModel();
  model.tokenizer = tokenizer;
  h.server->Attach(model, *h.engine);

  grpc::ClientContext running;
  auto first = h.chat->StreamChatCompletion(&running, Ask("one"));
  while (tokenizer->waiting == 0) std::this_thread::yield();
  grpc::ClientContext queued;
  auto second = h.chat->StreamChatCompletion(&queued, Ask("two"));
  ASSERT_TRUE(h.WaitForMetric("inferd_requests_accepted_total", 2));
  running.TryCancel();
  queued.TryCancel();
  EXPECT_TRUE(h.WaitForMetric(kCancelled, 2));
  EXPECT_EQ(h.server->live_requests(), 0);
  tokenizer->Open();
  first->Finish();
  second->Finish();
  // One more request passes behind them; the cancelled two never arrived.
  grpc::ClientContext last;
  auto third = h.chat->StreamChatCompletion(&last, Ask("three"));
  ASSERT_TRUE(h.engine->WaitForRequest().has_value());
  EXPECT_EQ(h.engine->submitted(), 1U);
  last.TryCancel();
  third->Finish();
}

TEST(CancelTest, FullTokenizerQueueRefusesAtOnce) {
  ServerOptions options = TestOptions();
  options.tokenizer_threads = 1;
  options.tokenizer_queue = 1;
  Harness h(options, /*attach=*/false);
  auto tokenizer = std::make_shared<GatedTokenizer>();
  ServedModel model = TestModel();
  model.tokenizer = tokenizer;
  h.server->Attach(model, *h.engine);
  grpc::ClientContext a;
  grpc::ClientContext b;
  auto first = h.chat->StreamChatCompletion(&a, Ask("one"));
  while (tokenizer->waiting == 0) std::this_thread::yield();
  auto second = h.chat->StreamChatCompletion(&b, Ask("two"));
  ASSERT_TRUE(h.WaitForMetric("inferd_requests_accepted_total", 2));
  grpc::ClientContext c;
  auto third = h.chat->StreamChatCompletion(&c, Ask("three"));
  const Streamed refused = ReadAll(*third);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused.status), "QUEUE_FULL");
  EXPECT_EQ(c.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1U);
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"queue_full\"}"), 1);
  a.TryCancel();
  b.TryCancel();
  tokenizer->Open();
  first->Finish();
  second->Finish();
}

TEST(CancelTest, ClientDeadline) {
  Harness h;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  auto reader = h.chat->StreamChatCompletion(&context, Ask("hi"));
  const auto spec = h.engine->WaitForRequest();
  ASSERT_TRUE(spec.has_value());
  EXPECT_LE(spec->deadline_us, h.clock.NowUs() + 300'000);
  EXPECT_FALSE(spec->deadline_is_soft);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(h.engine->WaitForCancel(spec->id));
}

// What asks for a partial answer is not to be refused for its time limit.
TEST(CancelTest, ATimeLimitIsSoft) {
  Harness h;
  v1::ChatCompletionRequest request = Ask("hi");
  request.set_time_limit_ms(60'000);
  grpc::ClientContext context;
  auto reader = h.chat->StreamChatCompletion(&context, request);
  const auto spec = h.engine->WaitForRequest();
  ASSERT_TRUE(spec.has_value());
  EXPECT_TRUE(spec->deadline_is_soft);
  EXPECT_LE(spec->deadline_us, h.clock.NowUs() + 60'000'000);
  h.engine->Post({End(spec->id, FinishReason::kDeadline)});
  EXPECT_TRUE(ReadAll(*reader).status.ok());
}

TEST(CancelTest, DefaultDeadlineOfTheServer) {
  Harness h;
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "some", FinishReason::kDeadline); });
  const Streamed s = StreamChat(h, Ask("hi"));
  EXPECT_EQ(s.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(s.status), "DEADLINE");
  EXPECT_EQ(s.text.at(0), "some");
}

TEST(CancelTest, SlowConsumerIsCutOff) {
  ServerOptions options = TestOptions();
  options.max_stream_buffer_bytes = 64 << 10;
  Harness h(options, /*attach=*/false);
  h.Attach(4'000'000);
  OpenChat call(h, Ask("hi"));
  // Nobody reads; the connection's window fills, then the merged delta.
  std::atomic<bool> stop{false};
  std::thread producer([&] {
    while (!stop) {
      std::vector<TokenEvent> events;
      for (int i = 0; i < 100; ++i) events.push_back(Token(call.spec.id, ByteTokenizer::kLong));
      h.engine->Post(std::move(events));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_TRUE(h.engine->WaitForCancel(call.spec.id));
  stop = true;
  producer.join();
  EXPECT_TRUE(h.WaitForMetric(kFailed, 1));
  const Streamed s = ReadAll(*call.reader);
  EXPECT_EQ(s.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(s.status), "SLOW_CONSUMER");
  // What did arrive is a prefix of the answer.
  ASSERT_EQ(s.text.count(0), 1U);
  const std::string& text = s.text.at(0);
  EXPECT_GT(text.size(), 0U);
  EXPECT_EQ(text.size() % 1000, 0U);
  EXPECT_EQ(text.find_first_not_of('y'), std::string::npos);
}

TEST(CancelTest, OneLargeDeliveryIsNotASlowConsumer) {
  ServerOptions options = TestOptions();
  options.max_stream_buffer_bytes = 1 << 10;
  Harness h(options, /*attach=*/false);
  h.Attach(100'000);
  OpenChat call(h, Ask("hi"));
  const std::string long_text(50'000, 'x');
  h.engine->Post(TextEvents(call.spec.id, long_text, FinishReason::kLength));
  const Streamed s = ReadAll(*call.reader);
  EXPECT_TRUE(s.status.ok()) << s.status.error_message();
  ASSERT_EQ(s.text.count(0), 1U);
  EXPECT_EQ(s.text.at(0), long_text);
}

TEST(CancelTest, StalledWriteIsCancelled) {
  ServerOptions options = TestOptions();
  options.max_stream_buffer_bytes = 512 << 20;
  options.write_stall_timeout_ms = 200;
  Harness h(options, /*attach=*/false);
  h.Attach(4'000'000);
  OpenChat call(h, Ask("hi"));
  std::vector<TokenEvent> events;
  for (int i = 0; i < 8'000; ++i) events.push_back(Token(call.spec.id, ByteTokenizer::kLong));
  h.engine->Post({Token(call.spec.id, 'x')});
  h.engine->Post(std::move(events));
  EXPECT_TRUE(h.engine->WaitForCancel(call.spec.id));
  EXPECT_TRUE(h.WaitForMetric("inferd_grpc_streams_active", 0));
  EXPECT_FALSE(ReadAll(*call.reader).status.ok());
}

TEST(ErrorTest, EngineRefusalsReachTheClient) {
  Harness h;
  ErrorDetail detail;
  detail.reason = "QUEUE_FULL";
  detail.retry_after_ms = 250;
  h.engine->RefuseWith(Status(StatusCode::kResourceExhausted, "the queue is full", detail));
  grpc::ClientContext context;
  auto reader = h.chat->StreamChatCompletion(&context, Ask("hi"));
  const Streamed s = ReadAll(*reader);
  EXPECT_EQ(s.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const auto retry = DetailOf<google::rpc::RetryInfo>(s.status);
  ASSERT_TRUE(retry.has_value());
  EXPECT_EQ(retry->retry_delay().nanos(), 250'000'000);
  EXPECT_EQ(context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms")->second, "250");
  EXPECT_TRUE(context.GetServerInitialMetadata().empty());
}

TEST(ErrorTest, EachReasonOfTheEngineHasItsStatus) {
  const struct {
    FinishReason finish;
    grpc::StatusCode code;
    const char* reason;
  } cases[] = {
      {FinishReason::kCorrupted, grpc::StatusCode::INTERNAL, "CORRUPTED_LOGITS"},
      {FinishReason::kPreempted, grpc::StatusCode::RESOURCE_EXHAUSTED, "PREEMPTED"},
      {FinishReason::kQueueTimeout, grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_TIMEOUT"},
      {FinishReason::kDeadline, grpc::StatusCode::DEADLINE_EXCEEDED, "DEADLINE"},
      {FinishReason::kEngineDead, grpc::StatusCode::UNAVAILABLE, "ENGINE_DEAD"},
      {FinishReason::kRanksLost, grpc::StatusCode::UNAVAILABLE, "RANKS_LOST"},
      {FinishReason::kPoison, grpc::StatusCode::UNAVAILABLE, "POISON"},
  };
  for (const auto& c : cases) {
    Harness h;
    h.engine->Play(
        [&](const RequestSpec& spec) { return std::vector<TokenEvent>{End(spec.id, c.finish)}; });
    const Streamed s = StreamChat(h, Ask("hi"));
    EXPECT_EQ(s.status.error_code(), c.code) << c.reason;
    EXPECT_EQ(ReasonOf(s.status), c.reason);
  }
}

TEST(ErrorTest, ValidationNamesFieldAndModel) {
  Harness h;
  auto request = Ask("hi");
  request.set_top_p(2);
  const Streamed bad = StreamChat(h, request);
  EXPECT_EQ(bad.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const auto field = DetailOf<google::rpc::BadRequest>(bad.status);
  ASSERT_TRUE(field.has_value());
  EXPECT_EQ(field->field_violations(0).field(), "top_p");
  request = Ask("hi");
  request.set_model("other");
  const Streamed missing = StreamChat(h, request);
  EXPECT_EQ(missing.status.error_code(), grpc::StatusCode::NOT_FOUND);
  const auto resource = DetailOf<google::rpc::ResourceInfo>(missing.status);
  ASSERT_TRUE(resource.has_value());
  EXPECT_EQ(resource->resource_name(), "other");
  request = Ask(std::string(2000, 'x'));
  EXPECT_EQ(ReasonOf(StreamChat(h, request).status), "CONTEXT_LENGTH_EXCEEDED");
  request = Ask("hi");
  request.set_chat_template_kwargs("{\"fail\": 1}");
  EXPECT_EQ(ReasonOf(StreamChat(h, request).status), "CHAT_TEMPLATE_ERROR");
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"invalid\"}"), 3);
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"too_large\"}"), 1);
  EXPECT_EQ(h.engine->submitted(), 0U);
}

}  // namespace
}  // namespace inferd
