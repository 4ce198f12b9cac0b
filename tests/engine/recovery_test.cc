// What clients see while ranks are lost and come back.
#include <memory>
#include <numeric>
#include <thread>

#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"
#include "inferd/engine/engine.h"

namespace inferd::testing {
namespace {

constexpr int32_t kPrompt = 5;
constexpr int32_t kAnswer = 40;

class RecoveryTest : public ::testing::Test {
 protected:
  void Start(bool resume = true, int depth = 2) {
    EngineOptions options;
    options.num_blocks = 100;
    options.block_size = 4;
    options.max_running = 4;
    options.max_model_len = 200;
    options.depth = depth;
    options.resume = resume;
    engine_ = StartEngine(options, executor_, sink_, clock_, entropy_, nullptr);
  }
  ~RecoveryTest() override { executor_.LetGo(); }

  Status Submit(RequestId id, int64_t deadline_us = -1) {
    RequestSpec spec;
    spec.id = id;
    spec.prompt.resize(kPrompt);
    std::iota(spec.prompt.begin(), spec.prompt.end(), static_cast<TokenId>(100 * id));
    spec.stop.max_new_tokens = kAnswer;
    spec.deadline_us = deadline_us;
    return engine_->Submit(std::move(spec));
  }
  // A request that has some tokens and then waits for the ranks.
  void Begin(RequestId id) {
    executor_.Hold();
    executor_.Allow(4);
    ASSERT_TRUE(Submit(id).ok());
    sink_.WaitForTokens(id, 3);
  }
  void WaitFor(EngineState state) {
    while (engine_->Stats().state != state) std::this_thread::yield();
  }
  void Lose() {
    executor_.SetState(ExecutorState::kLost);
    WaitFor(EngineState::kRecovering);
  }
  void ComeBack() {
    executor_.LetGo();
    executor_.SetState(ExecutorState::kReady);
    WaitFor(EngineState::kRunning);
  }
  // The answer that SimpleExecutor gives when nothing goes wrong.
  void ExpectWholeAnswer(RequestId id) {
    const std::vector<TokenEvent> events = sink_.WaitForEnd(id);
    ASSERT_EQ(events.size(), static_cast<size_t>(kAnswer));
    for (int32_t i = 0; i < kAnswer; ++i) {
      EXPECT_EQ(events[static_cast<size_t>(i)].token, 100 + (kPrompt + i) % 50) << i;
    }
    EXPECT_EQ(events.back().finish, FinishReason::kLength);
  }
  void ExpectAllBack() {
    while (engine_->Stats().live_requests != 0) std::this_thread::yield();
    EXPECT_EQ(engine_->Stats().blocks_used, 0);
  }

  ManualClock clock_;
  SystemEntropy entropy_;
  SimpleExecutor executor_;
  RecordingSink sink_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(RecoveryTest, AnAnswerGoesOnWhereItWas) {
  Start();
  Begin(1);
  Lose();
  EXPECT_EQ(engine_->Stats().blocks_used, 0);
  EXPECT_EQ(engine_->Stats().blocks_cached, 0);
  clock_.AdvanceUs(3'000'000);
  ComeBack();
  ExpectWholeAnswer(1);
  ExpectAllBack();
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.rank_losses, 1U);
  EXPECT_EQ(stats.sequences_resumed, 1U);
  EXPECT_EQ(stats.preemptions, 0U);
  EXPECT_EQ(stats.recovery_seconds.count(), 1U);
  EXPECT_DOUBLE_EQ(stats.recovery_seconds.sum(), 3.0);
}

TEST_F(RecoveryTest, NewRequestsAreRefusedMeanwhile) {
  Start();
  Begin(1);
  Lose();
  const Status refused = Submit(2);
  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  ASSERT_NE(refused.detail(), nullptr);
  EXPECT_EQ(refused.detail()->reason, "RANKS_RESTARTING");
  EXPECT_GE(refused.detail()->retry_after_ms, 1000);
  ComeBack();
  EXPECT_TRUE(Submit(2).ok());
  ExpectWholeAnswer(1);
  ExpectWholeAnswer(2);
}

TEST_F(RecoveryTest, CancelsAndDeadlinesWorkMeanwhile) {
  Start();
  executor_.Hold();
  ASSERT_TRUE(Submit(1).ok());
  ASSERT_TRUE(Submit(2, /*deadline_us=*/clock_.NowUs() + 1'000'000).ok());
  ASSERT_TRUE(Submit(3).ok());
  Lose();
  engine_->CancelRequest(1);
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kCancelled);
  clock_.AdvanceUs(2'000'000);
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kDeadline);
  ComeBack();
  ExpectWholeAnswer(3);
  ExpectAllBack();
}

TEST_F(RecoveryTest, ALossIsNoticedWithoutWork) {
  Start();
  Lose();
  EXPECT_FALSE(Submit(1).ok());
  ComeBack();
  EXPECT_TRUE(Submit(1).ok());
  ExpectWholeAnswer(1);
}

// Nobody says another word: they were back before their loss was noticed.
TEST_F(RecoveryTest, RanksLostBeforeTheEngineBeganAreTakenBack) {
  executor_.SetState(ExecutorState::kLost);
  executor_.BackAfterReset();
  Start();
  while (engine_->Stats().rank_losses == 0) std::this_thread::yield();
  WaitFor(EngineState::kRunning);
  ASSERT_TRUE(Submit(1).ok());
  ExpectWholeAnswer(1);
}

TEST_F(RecoveryTest, WithoutResumeAnswersThatHaveBegunEnd) {
  Start(/*resume=*/false, /*depth=*/1);
  Begin(1);
  ASSERT_TRUE(Submit(2).ok());
  Lose();
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kRanksLost);
  ComeBack();
  ExpectWholeAnswer(2);
  ExpectAllBack();
}

TEST_F(RecoveryTest, RanksThatDoNotComeBackAreTheEnd) {
  Start();
  Begin(1);
  Lose();
  executor_.SetState(ExecutorState::kFailed);
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kEngineDead);
  EXPECT_TRUE(engine_->Stats().dead());
  const Status refused = Submit(2);
  ASSERT_NE(refused.detail(), nullptr);
  EXPECT_EQ(refused.detail()->reason, "ENGINE_DEAD");
}

TEST_F(RecoveryTest, StopsWhileTheRanksAreAway) {
  Start();
  Begin(1);
  Lose();
  engine_.reset();
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kCancelled);
}

}  // namespace
}  // namespace inferd::testing
