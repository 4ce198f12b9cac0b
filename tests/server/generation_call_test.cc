// The life of a request without gRPC: what each thread may do to it.
#include "server/generation_call.h"

#include <atomic>
#include <memory>
#include <thread>

#include "fakes.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace inferd {
namespace {

// A client that takes everything and remembers it.
class RecordingStream final : public ClientStream {
 public:
  void Begin(PromptFacts) override {}
  Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage&) override {
    std::lock_guard lock(mutex);
    if (ends > 0) return OkStatus();
    if (out_of_memory) throw std::bad_alloc();
    for (const ChoiceDelta& delta : deltas) text += delta.text;
    ended.notify_all();
    return answer;
  }
  void End(const Status& end_status, const CallSummary& end_summary) override {
    std::lock_guard lock(mutex);
    ++ends;
    status = end_status;
    summary = end_summary;
    ended.notify_all();
  }
  bool WaitForText() {
    std::unique_lock lock(mutex);
    return ended.wait_for(lock, std::chrono::seconds(30), [this] { return !text.empty(); });
  }
  bool WaitForEnd() {
    std::unique_lock lock(mutex);
    return ended.wait_for(lock, std::chrono::seconds(30), [this] { return ends > 0; });
  }

  std::mutex mutex;
  std::condition_variable ended;
  std::string text;
  Status answer;
  bool out_of_memory = false;
  Status status;
  CallSummary summary;
  int ends = 0;
};

ServedModel Model() {
  ServedModel model;
  model.id = "m";
  model.max_model_len = 1000;
  model.vocab_size = ByteTokenizer::kVocab;
  model.eos_tokens = {ByteTokenizer::kEos};
  model.tokenizer = std::make_shared<ByteTokenizer>();
  return model;
}

class GenerationCallTest : public testing::Test {
 protected:
  GenerationCallTest() : front_(options_, clock_, entropy_, nullptr), engine_(front_.router()) {
    front_.Attach(Model(), engine_);
    front_.SetState(ServerState::kReady);
  }

  struct Started {
    std::shared_ptr<GenerationCall> call;
    std::shared_ptr<RecordingStream> stream;
  };
  Started Start(Status answer = OkStatus(), bool out_of_memory = false) {
    Started started;
    started.stream = std::make_shared<RecordingStream>();
    started.stream->answer = std::move(answer);
    started.stream->out_of_memory = out_of_memory;
    GenerationCall::Arrival arrival;
    arrival.caller.method = RpcMethod::kStreamCompletion;
    arrival.caller.access = access_;
    arrival.caller.key = key_;
    arrival.arrival_us = clock_.NowUs();
    arrival.deadline_us = clock_.NowUs() + 60'000'000;
    started.call = std::make_shared<GenerationCall>(front_, arrival, started.stream);
    GenerationRequest request;
    request.text = "prompt";
    request.max_new_tokens = 100;
    request.stop_strings = {"STOP"};
    started.call->Start(*front_.Model(), std::move(request));
    return started;
  }

  Status access_;
  Principal key_;
  ServerOptions options_;
  SystemClock clock_;
  SystemEntropy entropy_;
  FrontEnd front_;
  FakeEngine engine_;
};

TEST_F(GenerationCallTest, EndsOnceWithItsText) {
  engine_.Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "answer", FinishReason::kLength); });
  const Started s = Start();
  ASSERT_TRUE(s.stream->WaitForEnd());
  s.call->Cancel();
  s.call->Abort(DrainingError());
  EXPECT_EQ(s.stream->ends, 1);
  EXPECT_TRUE(s.stream->status.ok());
  EXPECT_EQ(s.stream->text, "answer");
  EXPECT_EQ(s.stream->summary.usage.completion_tokens, 6);
  EXPECT_EQ(front_.accounting().Snapshot().finished, 1U);
}

TEST_F(GenerationCallTest, AClientThatRefusesEndsIt) {
  engine_.Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "answer", FinishReason::kLength); });
  const Started s = Start(SlowConsumerError());
  ASSERT_TRUE(s.stream->WaitForEnd());
  EXPECT_EQ(s.stream->status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine_.WaitForCancel(engine_.WaitForRequest()->id));
}

TEST_F(GenerationCallTest, NoMemoryForADeltaEndsItsRequestAlone) {
  for (const FinishReason reason : {FinishReason::kLength, FinishReason::kCorrupted}) {
    engine_.Play([=](const RequestSpec& spec) { return TextEvents(spec.id, "text", reason); });
    const Started s = Start(OkStatus(), /*out_of_memory=*/true);
    ASSERT_TRUE(s.stream->WaitForEnd());
    EXPECT_EQ(s.stream->ends, 1);
    EXPECT_EQ(s.stream->status.code(), StatusCode::kInternal);
  }
}

TEST_F(GenerationCallTest, ClosedDoorRefuses) {
  const auto model = *front_.Model();
  front_.accounting().Close();
  auto stream = std::make_shared<RecordingStream>();
  GenerationCall::Arrival arrival;
  arrival.caller.access = OkStatus();
  auto call = std::make_shared<GenerationCall>(front_, arrival, stream);
  call->Start(model, GenerationRequest{});
  EXPECT_EQ(stream->ends, 1);
  EXPECT_EQ(stream->status.detail()->reason, "DRAINING");
  EXPECT_EQ(front_.accounting().Snapshot().accepted, 0U);
}

TEST_F(GenerationCallTest, NobodySaidWhoCallsIsARefusal) {
  access_ = GenerationCall::Arrival{}.caller.access;
  const Started s = Start();
  ASSERT_TRUE(s.stream->WaitForEnd());
  EXPECT_EQ(s.stream->status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(front_.accounting().Snapshot().accepted, 0U);
}

TEST_F(GenerationCallTest, ChargesItsTokensHoweverItEnds) {
  ApiKey key;
  key.tenant = "t";
  key.tokens_per_minute = 60;
  key.max_concurrent = 1;
  key_ = std::make_shared<const ApiKey>(key);
  RateLimiter& limiter = front_.authorizer().limiter();
  engine_.Play([](const RequestSpec& spec) {
    return TextEvents(spec.id, "12345", FinishReason::kCorrupted);
  });
  const Started failed = Start();
  ASSERT_TRUE(failed.stream->WaitForEnd());
  EXPECT_FALSE(failed.stream->status.ok());
  engine_.Play(
      [](const RequestSpec& spec) { return std::vector<TokenEvent>{Token(spec.id, 'a')}; });
  const Started open = Start();
  EXPECT_EQ(Start().stream->status.detail()->reason, "RATE_LIMITED");  // one at once
  ASSERT_TRUE(open.stream->WaitForText());
  open.call->Cancel();
  ASSERT_TRUE(open.stream->WaitForEnd());
  const auto tokens = [](const Started& s) {
    return s.stream->summary.usage.prompt_tokens + s.stream->summary.usage.completion_tokens;
  };
  EXPECT_GE(tokens(failed), 11);
  EXPECT_GE(tokens(open), 7);
  // All but what the two took, down to the last token.
  ASSERT_TRUE(limiter.Acquire(key).ok());
  limiter.Charge(key, 60 - tokens(failed) - tokens(open) - 1);
  limiter.Release(key);
  ASSERT_TRUE(limiter.Acquire(key).ok());
  limiter.Charge(key, 1);
  limiter.Release(key);
  EXPECT_FALSE(limiter.Acquire(key).ok());
  limiter.CheckIntegrity();
}

// Every end races with every other; whoever is first, there is one of them and
// the counts add up.
TEST_F(GenerationCallTest, RacingEndsAreOneEnd) {
  engine_.Play([](const RequestSpec& spec) {
    switch (spec.id % 4) {
      case 0:
        return TextEvents(spec.id, "a long answer", FinishReason::kLength);
      case 1:
        return TextEvents(spec.id, "with a STOP in it", FinishReason::kLength);
      case 2:
        return TextEvents(spec.id, "bad", FinishReason::kCorrupted);
      default:
        return TextEvents(spec.id, "ends", FinishReason::kStopToken);
    }
  });
  constexpr int kThreads = 4;
  constexpr int kRounds = 150;
  std::vector<std::thread> clients;
  std::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const Started s = Start();
        // Sometimes at once, sometimes after a while, sometimes never.
        if (i % 3 == 0) s.call->Cancel();
        if (i % 3 == 1) {
          for (int spin = 0; spin < (i + t) * 10; ++spin) std::this_thread::yield();
          s.call->Abort(DrainingError());
        }
        if (!s.stream->WaitForEnd()) ++wrong;
        std::lock_guard lock(s.stream->mutex);
        if (s.stream->ends != 1) ++wrong;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong.load(), 0);
  const RequestCounts counts = front_.accounting().Snapshot();
  EXPECT_EQ(counts.live, 0U);
  EXPECT_LE(counts.accepted, static_cast<uint64_t>(kThreads * kRounds));
  EXPECT_EQ(counts.accepted, counts.finished + counts.failed + counts.cancelled);
}

}  // namespace
}  // namespace inferd
