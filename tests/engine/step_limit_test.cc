// What the engine tells of the step it waits for, against a clock moved by hand.
#include <memory>
#include <numeric>
#include <thread>

#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"
#include "inferd/engine/engine.h"

namespace inferd::testing {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int32_t kPrompt = 4;

class StepLimitTest : public ::testing::Test {
 protected:
  // One request of one token per step after its prompt, its steps held back.
  void Start(int64_t step_timeout_us) {
    EngineOptions options;
    options.num_blocks = 100;
    options.depth = 1;
    options.step_timeout_us = step_timeout_us;
    executor_.Hold();
    engine_ = StartEngine(options, executor_, sink_, clock_, entropy_, nullptr);
    RequestSpec spec;
    spec.id = 1;
    spec.prompt.resize(kPrompt);
    std::iota(spec.prompt.begin(), spec.prompt.end(), 7);
    spec.stop.max_new_tokens = 1000;
    ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
    executor_.WaitForPlans(1);
  }
  ~StepLimitTest() override { executor_.LetGo(); }

  // Lets the step under way return after `us`, and waits for the next one's start.
  void Step(int64_t us) {
    clock_.AdvanceUs(us);
    executor_.Allow(1);
    executor_.WaitForPlans(++steps_ + 1);
  }
  // The engine notes that it waits a moment after the plan is out.
  EngineStats WhileWaiting(int64_t us) {
    while (engine_->Stats().step_limit_us == 0) std::this_thread::yield();
    clock_.AdvanceUs(us);
    return engine_->Stats();
  }

  ManualClock clock_;
  SystemEntropy entropy_;
  SimpleExecutor executor_;
  RecordingSink sink_;
  std::unique_ptr<Engine> engine_;
  int steps_ = 0;
};

TEST_F(StepLimitTest, TheFirstStepsMayTakeSixTimesTheTimeout) {
  Start(2 * kSecondUs);
  const EngineStats stats = WhileWaiting(3 * kSecondUs);
  EXPECT_EQ(stats.step_waited_us, 3 * kSecondUs);
  EXPECT_EQ(stats.step_limit_us, 12 * kSecondUs);
}

TEST_F(StepLimitTest, FastStepsAreHeldToTheTimeout) {
  Start(2 * kSecondUs);
  for (int i = 0; i < 9; ++i) Step(1000);
  EXPECT_EQ(WhileWaiting(0).step_limit_us, 2 * kSecondUs);
}

// A machine on which every token takes a second is slow, not broken.
TEST_F(StepLimitTest, SlowStepsAreHeldToTenTimesTheirPace) {
  Start(2 * kSecondUs);
  Step(kPrompt * kSecondUs);
  for (int i = 0; i < 200; ++i) Step(kSecondUs);
  const int64_t limit_us = WhileWaiting(0).step_limit_us;
  EXPECT_NEAR(static_cast<double>(limit_us), 10.0 * kSecondUs, 0.5 * kSecondUs);
}

TEST_F(StepLimitTest, NothingIsWatchedAtTimeoutZeroOrWithoutAStep) {
  Start(0);
  clock_.AdvanceUs(3600 * kSecondUs);
  EXPECT_EQ(engine_->Stats().step_limit_us, 0);
  executor_.LetGo();
  engine_->CancelRequest(1);
  while (engine_->Stats().live_requests != 0) std::this_thread::yield();
  while (engine_->Stats().step_waited_us != 0) std::this_thread::yield();
}

}  // namespace
}  // namespace inferd::testing
