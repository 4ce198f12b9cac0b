// How a serving daemon ends, with a real engine over an executor that fails or hangs.
#include "app/supervise.h"

#include <chrono>
#include <csignal>
#include <thread>

#include "app/exit_codes.h"
#include "app/fake_server.h"
#include "app/step_watch.h"
#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"

namespace inferd::app {
namespace {

using Notes = std::vector<std::string>;

class SuperviseTest : public ::testing::Test {
 protected:
  SuperviseTest() {
    EngineOptions options;
    options.num_blocks = 10;
    options.step_timeout_us = 100'000;  // of the first steps six times that
    engine_ = StartEngine(options, executor_, sink_, clock_, entropy_, nullptr);
  }
  ~SuperviseTest() override { executor_.LetGo(); }

  int Run() {
    SignalActions actions;
    actions.reload = [this] { ++reloads_; };
    actions.log_state = [this] {
      ++states_;
      signals_.TryPush(SIGINT);
    };
    actions.stopping = [this] { ++stops_; };
    actions.drain_times = [] { return ServerConfig::Drain{0, 77, 0}; };
    const int exit_code = Supervise(server_, *engine_, signals_, actions, logger_);
    EXPECT_EQ(stops_, 1);
    return exit_code;
  }
  // A request whose first step waits in the executor.
  void Occupy() {
    executor_.Hold();
    RequestSpec spec;
    spec.id = 1;
    spec.prompt = {1, 2, 3};
    ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
    executor_.WaitForPlans(1);
  }

  SystemClock clock_;
  SystemEntropy entropy_;
  inferd::testing::SimpleExecutor executor_;
  inferd::testing::RecordingSink sink_;
  std::unique_ptr<Engine> engine_;
  FakeServer server_{/*busy=*/false};
  SignalQueue signals_{8};
  spdlog::logger logger_{"test"};
  int reloads_ = 0;
  int stops_ = 0;
  int states_ = 0;
};

TEST_F(SuperviseTest, AHungEngineDoesNotMove) {
  const std::chrono::milliseconds patience(50);
  EXPECT_TRUE(EngineMoves(engine_->Stats(), patience));  // idle
  Occupy();
  std::this_thread::sleep_for(2 * patience);
  EXPECT_FALSE(EngineMoves(engine_->Stats(), patience));
  executor_.LetGo();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!EngineMoves(engine_->Stats(), patience) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(EngineMoves(engine_->Stats(), patience));
  EngineStats dead;
  dead.state = EngineState::kDead;
  EXPECT_FALSE(EngineMoves(dead, patience));
}

TEST_F(SuperviseTest, ADeadEngineEndsTheDaemonWithItsCode) {
  Occupy();
  executor_.Fail(InternalError("the rank is gone"));
  EXPECT_EQ(Run(), kExitEngineFailure);
  EXPECT_EQ(kExitEngineFailure, 70);  // documented
  EXPECT_EQ(server_.notes(), (Notes{"fail", "shutdown 2000"}));
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kEngineDead);
}

TEST_F(SuperviseTest, AnEngineThatDiesWhileDrainingIsNotACleanEnd) {
  Occupy();
  executor_.Fail(InternalError("the rank is gone"));
  while (!engine_->Stats().dead()) std::this_thread::yield();
  signals_.TryPush(SIGTERM);
  EXPECT_EQ(Run(), kExitEngineFailure);
  EXPECT_EQ(server_.notes(), (Notes{"drain", "shutdown 77"}));
}

// Nobody has to stop the daemon for a hung step to be noticed.
TEST_F(SuperviseTest, AHungStepEndsTheDaemon) {
  Occupy();
  EXPECT_EQ(Run(), kExitEngineFailure);
  EXPECT_EQ(server_.notes(), (Notes{"fail", "shutdown 2000"}));
  EXPECT_GT(engine_->Stats().step_waited_us, 600'000);
  EXPECT_EQ(engine_->Stats().step_limit_us, 600'000);
}

TEST(StepWatch, OnlyTimeItWasAwakeForCounts) {
  StepWatch watch(std::chrono::milliseconds(10));
  EngineStats stats;
  stats.step_limit_us = 100'000;
  const auto hung = [&](int64_t waited_ms) {
    stats.step_waited_us = waited_ms * 1000;
    return watch.Hung(stats);
  };
  EXPECT_FALSE(hung(10));
  EXPECT_FALSE(hung(60'000));  // the process was stopped for a minute: 20 ms count
  for (int i = 1; i <= 7; ++i) EXPECT_FALSE(hung(60'000 + 10 * i)) << i;
  EXPECT_TRUE(hung(60'080));
  EXPECT_FALSE(hung(3));  // another step
  EXPECT_FALSE(hung(0));
  EXPECT_FALSE(hung(10));
}

TEST(StepWatch, TimeInWhichItReadFromDiskDoesNotCount) {
  StepWatch watch(std::chrono::milliseconds(10));
  EngineStats stats;
  stats.step_limit_us = 100'000;
  for (int i = 1; i <= 50; ++i) {
    stats.step_waited_us = i * 10'000;
    EXPECT_FALSE(watch.Hung(stats, /*disk_bytes=*/i)) << i;
  }
  bool hung = false;
  for (int i = 51; i <= 60; ++i) {
    stats.step_waited_us = i * 10'000;
    hung = watch.Hung(stats, /*disk_bytes=*/50);
  }
  EXPECT_TRUE(hung);
}

TEST(StepWatch, StepsOfFullLengthNeverAddUp) {
  StepWatch watch(std::chrono::milliseconds(10));
  EngineStats stats;
  stats.step_limit_us = 100'000;
  // Every look finds another step, each a little further on than the one before.
  for (int i = 1; i <= 1000; ++i) {
    stats.step_waited_us = 1 + (i * 97) % 100'000;
    ASSERT_FALSE(watch.Hung(stats)) << i;
  }
  stats.step_limit_us = 0;  // not watched
  stats.step_waited_us = int64_t{1} << 40;
  for (int i = 0; i < 20'000; ++i) {
    stats.step_waited_us += 10'000;
    ASSERT_FALSE(watch.Hung(stats));
  }
}

TEST_F(SuperviseTest, SignalsEndItCleanly) {
  signals_.TryPush(SIGTERM);
  EXPECT_EQ(Run(), kExitOk);
  EXPECT_EQ(server_.notes(), (Notes{"drain", "shutdown 77"}));
}

TEST_F(SuperviseTest, OtherSignalsDoNotEndIt) {
  signals_.TryPush(SIGHUP);
  signals_.TryPush(SIGHUP);
  signals_.TryPush(SIGUSR1);  // its action interrupts
  EXPECT_EQ(Run(), kExitOk);
  EXPECT_EQ(reloads_, 2);
  EXPECT_EQ(states_, 1);
  EXPECT_EQ(server_.notes(), (Notes{"shutdown 0"}));
}

TEST_F(SuperviseTest, AnEngineThatStopsIsWaitedFor) {
  Logging logging("info", "text", StderrSink());
  Occupy();
  std::thread later([this] { executor_.LetGo(); });
  TearDownWithin(std::chrono::hours(1), logging, [this] { engine_.reset(); });
  later.join();
  EXPECT_EQ(engine_, nullptr);
}

using SuperviseDeathTest = SuperviseTest;

// The step never returns, so neither would the engine's thread.
TEST_F(SuperviseDeathTest, AHangingStepEndsTheProcessAfterTheGrace) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Logging logging("info", "text", StderrSink());
        Occupy();
        TearDownWithin(std::chrono::milliseconds(200), logging, [this] { engine_.reset(); });
      },
      ::testing::ExitedWithCode(kExitEngineFailure),
      "critical the engine did not stop within 0.2 s");
}

}  // namespace
}  // namespace inferd::app
