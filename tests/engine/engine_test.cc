#include "inferd/engine/engine.h"

#include <atomic>
#include <numeric>
#include <sstream>
#include <thread>

#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return next_.fetch_add(1); }

 private:
  std::atomic<uint64_t> next_{1};
};

EngineOptions SmallOptions() {
  EngineOptions o;
  o.num_blocks = 33;
  o.block_size = 4;
  o.max_running = 4;
  o.max_batched_tokens = 16;
  o.max_model_len = 64;
  return o;
}

RequestSpec MakeSpec(RequestId id, int32_t prompt_tokens, int32_t max_new) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt.resize(static_cast<size_t>(prompt_tokens));
  std::iota(spec.prompt.begin(), spec.prompt.end(), static_cast<TokenId>(id * 1000));
  spec.stop.max_new_tokens = max_new;
  spec.sampling.seed = id;
  return spec;
}

class EngineTest : public ::testing::Test {
 protected:
  void Start(const EngineOptions& options) {
    engine_ = StartEngine(options, executor_, sink_, clock_, entropy_, logger_);
  }
  void ExpectIdle() {
    const EngineStats stats = engine_->Stats();
    EXPECT_EQ(stats.running, 0);
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.waiting_prompt_tokens, 0);
    EXPECT_EQ(stats.live_requests, 0);
    EXPECT_EQ(stats.blocks_used, 0);
  }
  // The engine tells the end before plans in flight are back; this waits for those.
  void WaitUntilIdle() {
    while (engine_->Stats().live_requests != 0) std::this_thread::yield();
    ExpectIdle();
  }
  // Fills the only slot with a request whose first result is held back.
  void Occupy(RequestId id) {
    executor_.Hold();
    ASSERT_TRUE(engine_->Submit(MakeSpec(id, 4, 8)).ok());
    while (engine_->Stats().running != 1) std::this_thread::yield();
  }
  void TearDown() override { executor_.LetGo(); }

  ManualClock clock_;
  FixedEntropy entropy_;
  SimpleExecutor executor_;
  RecordingSink sink_;
  std::shared_ptr<spdlog::logger> logger_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, GeneratesUntilMaxNewTokens) {
  Start(SmallOptions());
  ASSERT_TRUE(engine_->Submit(MakeSpec(1, 5, 3)).ok());
  const auto events = sink_.WaitForEnd(1);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].token, 105);
  EXPECT_EQ(events[1].token, 106);
  EXPECT_EQ(events[2].token, 107);
  EXPECT_EQ(events[2].finish, FinishReason::kLength);
  WaitUntilIdle();
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.generation_tokens, 3U);
  EXPECT_EQ(stats.prompt_tokens, 5U);
  EXPECT_EQ(stats.requests_submitted, 1U);
  EXPECT_EQ(stats.choices_finished[static_cast<size_t>(FinishReason::kLength)], 1U);
  EXPECT_EQ(stats.steps_prefill, 1U);
  EXPECT_EQ(stats.steps_decode, 2U);
  EXPECT_EQ(stats.iteration_tokens.count(), 3U);
  EXPECT_EQ(stats.blocks_total, 32);
}

TEST_F(EngineTest, EndsWithTheStopToken) {
  Start(SmallOptions());
  RequestSpec spec = MakeSpec(1, 5, 30);
  spec.stop.stop_tokens = {7, 108};
  ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
  const auto events = sink_.WaitForEnd(1);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events.back().token, 108);
  EXPECT_EQ(events.back().finish, FinishReason::kStopToken);
  WaitUntilIdle();
}

TEST_F(EngineTest, EndsAtTheContextLimit) {
  Start(SmallOptions());
  ASSERT_TRUE(engine_->Submit(MakeSpec(1, 60, 30)).ok());
  const auto events = sink_.WaitForEnd(1);
  EXPECT_EQ(events.size(), 4U);
  EXPECT_EQ(events.back().finish, FinishReason::kLength);
}

TEST_F(EngineTest, CarriesLogprobs) {
  Start(SmallOptions());
  RequestSpec spec = MakeSpec(1, 5, 2);
  spec.sampling.logprobs = 2;
  ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
  ASSERT_TRUE(engine_->Submit(MakeSpec(2, 5, 2)).ok());
  for (const TokenEvent& e : sink_.WaitForEnd(1)) {
    ASSERT_EQ(e.top.size(), 2U);
    EXPECT_EQ(e.top[0].token, e.token);
    EXPECT_FLOAT_EQ(e.logprob, -0.5F);
  }
  for (const TokenEvent& e : sink_.WaitForEnd(2)) EXPECT_TRUE(e.top.empty());
}

TEST_F(EngineTest, TellsCachedTokensOnTheFirstEventOnly) {
  Start(SmallOptions());
  ASSERT_TRUE(engine_->Submit(MakeSpec(1, 9, 3)).ok());
  sink_.WaitForEnd(1);
  RequestSpec again = MakeSpec(1, 9, 3);
  again.id = 2;
  ASSERT_TRUE(engine_->Submit(std::move(again)).ok());
  const auto events = sink_.WaitForEnd(2);
  EXPECT_EQ(events[0].cached_tokens, 8);
  EXPECT_EQ(events[1].cached_tokens, 0);
  EXPECT_EQ(engine_->Stats().prompt_tokens_cached, 8U);
}

TEST_F(EngineTest, RefusesWhatCannotFit) {
  Start(SmallOptions());
  const Status too_long = engine_->Submit(MakeSpec(1, 64, 1));
  EXPECT_EQ(too_long.code(), StatusCode::kInvalidArgument);
  ASSERT_NE(too_long.detail(), nullptr);
  EXPECT_EQ(too_long.detail()->reason, "CONTEXT_LENGTH_EXCEEDED");
  EXPECT_TRUE(engine_->Submit(MakeSpec(1, 63, 1)).ok());
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kLength);
  RequestSpec empty;
  empty.id = 3;
  EXPECT_EQ(engine_->Submit(empty).code(), StatusCode::kInvalidArgument);
  RequestSpec spec = MakeSpec(4, 3, 0);
  EXPECT_EQ(engine_->Submit(spec).code(), StatusCode::kInvalidArgument);
  spec = MakeSpec(5, 3, 1);
  spec.num_choices = 65;
  EXPECT_EQ(engine_->Submit(spec).code(), StatusCode::kInvalidArgument);
  spec.num_choices = 0;
  EXPECT_EQ(engine_->Submit(spec).code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, TheKvCacheBoundsTheContext) {
  EngineOptions options = SmallOptions();
  options.num_blocks = 4;  // 12 tokens
  Start(options);
  EXPECT_EQ(engine_->Submit(MakeSpec(1, 12, 1)).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(engine_->Submit(MakeSpec(1, 6, 50)).ok());
  EXPECT_EQ(sink_.WaitForEnd(1).size(), 6U);
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kLength);
}

TEST_F(EngineTest, QueueLimitInRequests) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  options.queue.max_requests = 3;
  Start(options);
  Occupy(1);
  for (RequestId id = 2; id <= 4; ++id) EXPECT_TRUE(engine_->Submit(MakeSpec(id, 4, 2)).ok());
  const Status refused = engine_->Submit(MakeSpec(5, 4, 2));
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  ASSERT_NE(refused.detail(), nullptr);
  EXPECT_EQ(refused.detail()->reason, "QUEUE_FULL");
  EXPECT_GE(refused.detail()->retry_after_ms, 100);
  EXPECT_LE(refused.detail()->retry_after_ms, 30000);
  executor_.LetGo();
  for (RequestId id = 1; id <= 4; ++id) EXPECT_EQ(sink_.WaitForFinish(id), FinishReason::kLength);
  // A refusal changes nothing: the id is free.
  EXPECT_TRUE(engine_->Submit(MakeSpec(5, 4, 2)).ok());
  EXPECT_EQ(sink_.WaitForFinish(5), FinishReason::kLength);
}

TEST_F(EngineTest, QueueLimitInTokens) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  options.queue.max_tokens = 20;
  Start(options);
  Occupy(1);
  EXPECT_TRUE(engine_->Submit(MakeSpec(2, 12, 2)).ok());
  EXPECT_EQ(engine_->Submit(MakeSpec(3, 9, 2)).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine_->Submit(MakeSpec(3, 8, 2)).ok());
  EXPECT_EQ(engine_->Submit(MakeSpec(4, 1, 2)).code(), StatusCode::kResourceExhausted);
  // Cancelling what waits makes room, although nothing was ever computed for it.
  engine_->CancelRequest(2);
  executor_.Allow(1);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kCancelled);
  EXPECT_TRUE(engine_->Submit(MakeSpec(4, 12, 2)).ok());
  executor_.LetGo();
  EXPECT_EQ(sink_.WaitForFinish(4), FinishReason::kLength);
}

TEST_F(EngineTest, QueueLimitsChangeWhileServing) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  options.queue.max_requests = 1;
  Start(options);
  Occupy(1);
  ASSERT_TRUE(engine_->Submit(MakeSpec(2, 4, 2)).ok());
  EXPECT_EQ(engine_->Submit(MakeSpec(3, 4, 2)).code(), StatusCode::kResourceExhausted);
  engine_->SetQueueLimits({.max_requests = 2, .max_tokens = 100, .max_time_us = 500});
  ASSERT_TRUE(engine_->Submit(MakeSpec(3, 4, 2)).ok());
  EXPECT_EQ(engine_->Submit(MakeSpec(4, 4, 2)).code(), StatusCode::kResourceExhausted);
  // Fewer than wait already: they stay, and nobody joins them.
  engine_->SetQueueLimits({.max_requests = 1, .max_tokens = 100, .max_time_us = -1});
  EXPECT_EQ(engine_->Submit(MakeSpec(4, 4, 2)).code(), StatusCode::kResourceExhausted);
  clock_.AdvanceUs(500);
  executor_.LetGo();
  // Each waits as long as was allowed when it came.
  EXPECT_EQ(sink_.WaitForFinish(3), FinishReason::kQueueTimeout);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kLength);
}

TEST_F(EngineTest, APromptBeyondTheTokenLimitRunsAlone) {
  EngineOptions options = SmallOptions();
  options.queue.max_tokens = 4;
  Start(options);
  ASSERT_TRUE(engine_->Submit(MakeSpec(1, 30, 2)).ok());
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kLength);
}

TEST_F(EngineTest, RefusesALiveId) {
  Start(SmallOptions());
  Occupy(1);
  EXPECT_EQ(engine_->Submit(MakeSpec(1, 4, 2)).code(), StatusCode::kAlreadyExists);
  executor_.LetGo();
  sink_.WaitForEnd(1);
}

TEST_F(EngineTest, CancelWhileWaitingRunningAndIdle) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options);
  Occupy(1);
  ASSERT_TRUE(engine_->Submit(MakeSpec(2, 4, 2)).ok());
  engine_->CancelRequest(2);   // waiting
  engine_->CancelRequest(1);   // running, in flight
  engine_->CancelRequest(99);  // never was
  executor_.LetGo();
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kCancelled);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kCancelled);
  WaitUntilIdle();
  engine_->CancelRequest(1);  // idle, ended
  ASSERT_TRUE(engine_->Submit(MakeSpec(3, 4, 2)).ok());
  EXPECT_EQ(sink_.WaitForFinish(3), FinishReason::kLength);
  EXPECT_LE(sink_.Events(1).size(), 2U);  // a token may have been on its way
}

TEST_F(EngineTest, FinishChoiceLeavesTheOthers) {
  Start(SmallOptions());
  executor_.Hold();
  RequestSpec spec = MakeSpec(1, 9, 4);
  spec.num_choices = 3;
  ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
  executor_.WaitForPlans(1);
  engine_->FinishChoice(1, 0);  // the one that computes the prompt for all
  engine_->FinishChoice(1, 2);  // one that is held back
  engine_->FinishChoice(1, 7);
  engine_->FinishChoice(1, -1);
  executor_.LetGo();
  EXPECT_EQ(sink_.WaitForFinish(1, 0), FinishReason::kCancelled);
  EXPECT_EQ(sink_.WaitForFinish(1, 1), FinishReason::kLength);
  EXPECT_EQ(sink_.WaitForFinish(1, 2), FinishReason::kCancelled);
  WaitUntilIdle();
}

TEST_F(EngineTest, DeadlineEndsWaitingAndRunning) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options);
  executor_.Hold();
  RequestSpec first = MakeSpec(1, 4, 8), second = MakeSpec(2, 4, 8);
  first.deadline_us = second.deadline_us = 1000;
  ASSERT_TRUE(engine_->Submit(std::move(first)).ok());
  ASSERT_TRUE(engine_->Submit(std::move(second)).ok());
  executor_.WaitForPlans(2);
  clock_.AdvanceUs(1000);
  executor_.Allow(1);
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kDeadline);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kDeadline);
  executor_.LetGo();
  WaitUntilIdle();
}

TEST_F(EngineTest, QueueTimeoutEndsOnlyWhatNeverRan) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  options.queue.max_time_us = 500;
  Start(options);
  Occupy(1);
  ASSERT_TRUE(engine_->Submit(MakeSpec(2, 4, 2)).ok());
  executor_.Allow(1);
  sink_.WaitForTokens(1, 1);
  clock_.AdvanceUs(500);
  executor_.LetGo();
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kQueueTimeout);
  EXPECT_EQ(sink_.Events(2).back().queue_us, 500);
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kLength);
}

TEST_F(EngineTest, ADeadExecutorEndsEverythingAndRefusesTheRest) {
  std::ostringstream log;
  logger_ = std::make_shared<spdlog::logger>("test",
                                             std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options);
  Occupy(1);
  ASSERT_TRUE(engine_->Submit(MakeSpec(2, 4, 2)).ok());
  executor_.Fail(InternalError("rank 0 is gone"));
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kEngineDead);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kEngineDead);
  const Status refused = engine_->Submit(MakeSpec(3, 4, 2));
  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  ASSERT_NE(refused.detail(), nullptr);
  EXPECT_EQ(refused.detail()->reason, "ENGINE_DEAD");
  EXPECT_TRUE(engine_->Stats().dead());
  ExpectIdle();
  engine_.reset();
  EXPECT_NE(log.str().find("rank 0 is gone"), std::string::npos);
  EXPECT_NE(log.str().find("last plan: step "), std::string::npos);
}

TEST_F(EngineTest, DestructionEndsLiveWork) {
  EngineOptions options = SmallOptions();
  options.max_running = 1;
  Start(options);
  Occupy(1);
  for (RequestId id = 2; id <= 6; ++id) {
    RequestSpec spec = MakeSpec(id, 9, 50);
    spec.num_choices = 2;
    ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
  }
  executor_.LetGo();
  engine_.reset();
  for (RequestId id = 2; id <= 6; ++id) {
    for (int32_t choice = 0; choice < 2; ++choice) {
      const auto events = sink_.Events(id, choice);
      ASSERT_FALSE(events.empty());
      EXPECT_NE(events.back().finish, FinishReason::kNone);
    }
  }
}

TEST_F(EngineTest, ManyThreadsSubmitAndCancel) {
  EngineOptions options = SmallOptions();
  options.num_blocks = 24;
  options.depth = 2;
  options.queue.max_requests = 16;
  Start(options);
  constexpr int kThreads = 4, kRequests = 150;
  std::atomic<int> accepted{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        const auto id = static_cast<RequestId>(t * kRequests + i + 1);
        RequestSpec spec = MakeSpec(id, 1 + i % 20, 1 + i % 7);
        spec.num_choices = 1 + i % 3;
        const int32_t n = spec.num_choices;
        if (!engine_->Submit(std::move(spec)).ok()) {
          ++refused;
          std::this_thread::yield();
          continue;
        }
        ++accepted;
        if (i % 4 == 0) engine_->CancelRequest(id);
        if (i % 5 == 0) engine_->FinishChoice(id, 0);
        if (engine_->Stats().live_requests < 0) ADD_FAILURE();
        if (i % 8 == 0) {
          for (int32_t c = 0; c < n; ++c) sink_.WaitForEnd(id, c);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(accepted + refused, kThreads * kRequests);
  WaitUntilIdle();
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.requests_submitted, static_cast<uint64_t>(accepted));
}

TEST(EngineOptionsTest, EachOptionHasLimits) {
  EngineOptions ok;
  ok.num_blocks = 100;
  EXPECT_TRUE(ValidateEngineOptions(ok).ok());
  auto broken = [&ok](auto change) {
    EngineOptions o = ok;
    change(o);
    return ValidateEngineOptions(o).code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(broken([](EngineOptions& o) { o.num_blocks = 1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.block_size = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.max_running = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.max_batched_tokens = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.max_model_len = 1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.queue.max_requests = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.queue.max_tokens = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.queue.max_time_us = -2; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.max_preemptions = -1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.priority_step_us = -1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.priority_limit_us = -1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.step_timeout_us = -1; }));
  EXPECT_TRUE(broken([](EngineOptions& o) { o.depth = 0; }));
  EXPECT_TRUE(broken([](EngineOptions& o) {
    o.block_size = 1;
    o.max_model_len = 65536;
  }));
}

}  // namespace
}  // namespace inferd::testing
