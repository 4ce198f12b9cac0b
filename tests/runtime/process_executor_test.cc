// Ranks that are processes and die, under a real engine. This program is also the rank.
#include "inferd/runtime/process_executor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>

#include "engine/recording_sink.h"
#include "gtest/gtest.h"
#include "inferd/engine/engine.h"
#include "runtime/rank_program.h"
#include "runtime/remote_host.h"
#include "runtime/toy_rank.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

// Without a model. The payload tells the rank to misbehave.
StatusOr<std::unique_ptr<Rank>> LoadToyRank(const RankProcess& process, const RankLinks& links,
                                            const Clock& /*clock*/) {
  std::fprintf(stderr, "I|joined as %d\n", process.place().world_rank());
  const std::string& payload = process.payload();
  if (payload == "die") std::_Exit(5);
  while (payload == "load for ever" && process.place().world_rank() > 0) pause();
  if (payload == "refuse") return FailedPreconditionError("no such model");
  return std::unique_ptr<Rank>(
      std::make_unique<ToyRank>(process.place(), links, payload == "slow"));
}

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  FILE* tasks = popen(("cat /proc/" + std::to_string(getpid()) + "/task/*/children").c_str(), "r");
  pid_t child = 0;
  while (fscanf(tasks, "%d", &child) == 1) {
    char name[64] = {};
    std::ifstream comm("/proc/" + std::to_string(child) + "/comm");
    comm.getline(name, sizeof(name));
    if (std::string(name).rfind("inferd-rank", 0) == 0) children.push_back(child);
  }
  pclose(tasks);
  return children;
}

class ProcessExecutorTest : public ::testing::Test {
 protected:
  ProcessExecutorTest() {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log_);
    logger_ = std::make_shared<spdlog::logger>("test", sink);
    options_ = ThisProgramAsRanks({1, 1, 1}, "");
    options_.first_backoff_us = 10'000;
    options_.last_backoff_us = 50'000;
    options_.max_failed_starts = 3;
    engine_options_.num_blocks = ToyLimits().num_blocks;
    engine_options_.block_size = ToyLimits().block_size;
    engine_options_.max_running = ToyLimits().max_running;
    engine_options_.max_batched_tokens = ToyLimits().max_batched_tokens;
    engine_options_.max_model_len = ToyLimits().max_model_len;
    engine_options_.step_timeout_us = 20'000'000;
  }

  Status Start() {
    std::vector<RankInfo> infos;
    for (int r = 0; r < options_.shape.ranks(); ++r) {
      infos.push_back(ToyInfo(PlaceOf(options_.shape, r)));
    }
    auto executor = StartProcessExecutor(options_, infos, entropy_, clock_, logger_);
    if (!executor.ok()) return executor.status();
    executor_ = std::move(*executor);
    engine_ = StartEngine(engine_options_, *executor_, sink_, clock_, entropy_, logger_);
    return OkStatus();
  }
  static std::vector<TokenId> Prompt(RequestId id) {
    std::vector<TokenId> prompt(7);
    std::iota(prompt.begin(), prompt.end(), static_cast<TokenId>(10 * id));
    return prompt;
  }
  Status Submit(RequestId id, int32_t max_new, TokenId poison = -1) {
    RequestSpec spec;
    spec.id = id;
    spec.prompt = Prompt(id);
    if (poison >= 0) spec.prompt.push_back(poison);
    spec.sampling.seed = id;
    spec.stop.max_new_tokens = max_new;
    return engine_->Submit(std::move(spec));
  }
  void ExpectWholeAnswer(RequestId id, int32_t max_new) {
    const auto events = sink_.WaitForEnd(id);
    ASSERT_EQ(events.back().finish, FinishReason::kLength) << "request " << id;
    ASSERT_EQ(events.size(), static_cast<size_t>(max_new));
    std::vector<TokenId> history = Prompt(id);
    for (const TokenEvent& event : events) {
      ASSERT_EQ(event.token, ToyDraw(history, ChoiceSeed(id, 0))) << "request " << id;
      history.push_back(event.token);
    }
  }
  void ExpectAllBack() {
    while (engine_->Stats().live_requests != 0) std::this_thread::yield();
    EXPECT_EQ(engine_->Stats().blocks_used, 0);
  }
  void WaitFor(EngineState state) {
    while (engine_->Stats().state != state) std::this_thread::yield();
  }
  // The log is complete once nobody writes it.
  std::string TakeLog() {
    engine_.reset();
    executor_.reset();
    logger_->flush();
    return log_.str();
  }

  SystemClock clock_;
  SystemEntropy entropy_;
  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> logger_;
  ProcessExecutorOptions options_;
  EngineOptions engine_options_;
  RecordingSink sink_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(ProcessExecutorTest, AnswersLikeOneProcess) {
  ASSERT_TRUE(Start().ok()) << log_.str();
  for (RequestId id = 1; id <= 5; ++id) ASSERT_TRUE(Submit(id, 30).ok());
  for (RequestId id = 1; id <= 5; ++id) ExpectWholeAnswer(id, 30);
  ExpectAllBack();
  EXPECT_NE(TakeLog().find("rank 0: joined as 0"), std::string::npos);
  EXPECT_TRUE(Children().empty());
}

TEST_F(ProcessExecutorTest, RanksFindEachOther) {
  options_.shape = {2, 2, 2};
  ASSERT_TRUE(Start().ok()) << log_.str();
  EXPECT_EQ(Children().size(), 8U);
  for (RequestId id = 1; id <= 3; ++id) ASSERT_TRUE(Submit(id, 20).ok());
  for (RequestId id = 1; id <= 3; ++id) ExpectWholeAnswer(id, 20);
}

class KilledRank : public ProcessExecutorTest,
                   public ::testing::WithParamInterface<ParallelShape> {};

TEST_P(KilledRank, AnswersGoOn) {
  options_.shape = GetParam();
  options_.payload = "slow";
  ASSERT_TRUE(Start().ok()) << log_.str();
  for (RequestId id = 1; id <= 6; ++id) ASSERT_TRUE(Submit(id, 200).ok());
  for (uint64_t kill_number = 0; kill_number < 4; ++kill_number) {
    WaitFor(EngineState::kRunning);
    sink_.WaitForTokens(1, 10 * (kill_number + 1));
    const std::vector<pid_t> ranks = Children();
    if (!ranks.empty()) kill(ranks[kill_number % ranks.size()], SIGKILL);
    if (engine_->Stats().live_requests == 0) break;
  }
  for (RequestId id = 1; id <= 6; ++id) ExpectWholeAnswer(id, 200);
  ExpectAllBack();
  EXPECT_GE(engine_->Stats().rank_losses, 1U);
  EXPECT_GE(engine_->Stats().sequences_resumed, 1U);
  EXPECT_NE(TakeLog().find("was killed by signal 9"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Shapes, KilledRank,
                         ::testing::Values(ParallelShape{1, 1, 1}, ParallelShape{2, 1, 1},
                                           ParallelShape{2, 1, 2}),
                         [](const auto& shape) {
                           return "ranks" + std::to_string(shape.param.ranks());
                         });

TEST_F(ProcessExecutorTest, ARankThatDiesIdleComesBack) {
  ASSERT_TRUE(Start().ok());
  const std::vector<pid_t> before = Children();
  ASSERT_EQ(before.size(), 1U);
  kill(before[0], SIGKILL);
  while (engine_->Stats().recovery_seconds.count() == 0) std::this_thread::yield();
  EXPECT_EQ(engine_->Stats().rank_losses, 1U);
  ASSERT_TRUE(Submit(1, 10).ok());
  ExpectWholeAnswer(1, 10);
}

TEST_F(ProcessExecutorTest, AHungStepIsEndedAndItsStacksAreLogged) {
  options_.shape = {2, 1, 1};
  engine_options_.step_timeout_us = 200'000;  // the first steps: 1.2 s
  engine_options_.max_rank_losses = 1;
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Submit(1, 10, kHangToken).ok());
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kPoison);
  WaitFor(EngineState::kRunning);
  ASSERT_TRUE(Submit(2, 10).ok());
  ExpectWholeAnswer(2, 10);
  const std::string log = TakeLog();
  EXPECT_NE(log.find("a step has not returned for"), std::string::npos) << log;
  EXPECT_NE(log.find("rank 0: stack of thread"), std::string::npos) << log;
  EXPECT_NE(log.find("rank 1: stack of thread"), std::string::npos) << log;
}

TEST_F(ProcessExecutorTest, AStoppedRankIsDescribedFromOutside) {
  engine_options_.step_timeout_us = 200'000;
  engine_options_.max_rank_losses = 1;
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Submit(1, 10, kStopToken).ok());
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kPoison);
  WaitFor(EngineState::kRunning);
  const std::string log = TakeLog();
  EXPECT_NE(log.find("rank 0 does not answer: thread"), std::string::npos) << log;
  EXPECT_NE(log.find("state T"), std::string::npos) << log;
}

// Whoever kills the ranks is ended; those who shared the batch with it are not.
TEST_F(ProcessExecutorTest, PoisonIsFoundAndTheOthersGoOn) {
  options_.payload = "slow";
  ASSERT_TRUE(Start().ok());
  RequestId id = 1;
  for (const TokenId poison : {kAbortToken, kErrorToken, kExitToken}) {
    ASSERT_TRUE(Submit(id, 40).ok());
    ASSERT_TRUE(Submit(id + 1, 40).ok());
    ASSERT_TRUE(Submit(id + 2, 40, poison).ok());
    EXPECT_EQ(sink_.WaitForFinish(id + 2), FinishReason::kPoison);
    ExpectWholeAnswer(id, 40);
    ExpectWholeAnswer(id + 1, 40);
    WaitFor(EngineState::kRunning);
    id += 3;
  }
  ExpectAllBack();
  const std::string log = TakeLog();
  EXPECT_NE(log.find("killed by signal 6"), std::string::npos) << log;
  EXPECT_NE(log.find("a toy rank met its token"), std::string::npos) << log;
  EXPECT_NE(log.find("exited with code 3"), std::string::npos) << log;
}

TEST_F(ProcessExecutorTest, AFirstStartThatFailsSaysWhy) {
  options_.payload = "refuse";
  Status status = Start();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "rank 0: no such model");
  options_.payload = "die";
  status = Start();
  EXPECT_NE(status.message().find("exited with code 5"), std::string::npos) << status.ToString();
  options_.payload = "";
  options_.version = "test 2";
  status = Start();
  EXPECT_EQ(status.message(),
            "rank 0: the engine is of version test 2, this rank of " + std::string(kRankVersion));
  EXPECT_TRUE(Children().empty());
}

// Rank 1 is of another host, which is this one at another address.
class RankOfAnotherHost : public ProcessExecutorTest {
 protected:
  RankOfAnotherHost() {
    options_.shape = {2, 1, 1};
    options_.remote = RanksOfHosts(2, LoopbackAddress(0));
    options_.remote.silence_us = 2'000'000;
    worker_options_ = WorkerOf(options_, 1, LoopbackAddress(1));
    worker_options_.shape = {1, 1, 1};  // Start() takes the leader's
    worker_options_.first_backoff_us = 10'000;
    worker_options_.last_backoff_us = 50'000;
    worker_logger_ = std::make_shared<spdlog::logger>(
        "worker", std::make_shared<spdlog::sinks::ostream_sink_mt>(worker_log_));
  }
  Status Start() {
    if (worker_options_.shape.ranks() == 1) worker_options_.shape = options_.shape;
    worker_ = std::make_unique<RemoteHost>(worker_options_, clock_, worker_logger_);
    return ProcessExecutorTest::Start();
  }
  ~RankOfAnotherHost() override {
    engine_.reset();
    executor_.reset();
    StopWorker();
  }
  std::string StopWorker() {
    worker_.reset();
    return worker_log_.str();
  }
  // The process that is called inferd-rank and the number.
  static pid_t RemoteRank(int rank = 1) {
    for (const pid_t child : Children()) {
      std::ifstream comm("/proc/" + std::to_string(child) + "/comm");
      std::string name;
      std::getline(comm, name);
      if (name == "inferd-rank" + std::to_string(rank)) return child;
    }
    return -1;
  }
  // How many groups that rank belongs to in shared memory.
  static int SegmentsOf(int rank) {
    std::ifstream maps("/proc/" + std::to_string(RemoteRank(rank)) + "/maps");
    int segments = 0;
    for (std::string line; std::getline(maps, line);) {
      if (line.find("inferd-comm") != std::string::npos) ++segments;
    }
    return segments;
  }

  RemoteWorkerOptions worker_options_;
  std::ostringstream worker_log_;
  std::shared_ptr<spdlog::logger> worker_logger_;
  std::unique_ptr<RemoteHost> worker_;
};

// Nothing runs, so nobody waits for it: only its silence tells.
TEST_F(RankOfAnotherHost, ThatIsStoppedWhileIdleIsLostAndComesBack) {
  ASSERT_TRUE(Start().ok()) << log_.str();
  ASSERT_TRUE(Submit(1, 10).ok());
  ExpectWholeAnswer(1, 10);
  const pid_t rank = RemoteRank();
  ASSERT_GT(rank, 0);
  ASSERT_EQ(kill(rank, SIGSTOP), 0);
  while (engine_->Stats().rank_losses == 0) std::this_thread::yield();
  WaitFor(EngineState::kRunning);
  ASSERT_TRUE(Submit(2, 10).ok());
  ExpectWholeAnswer(2, 10);
  const std::string log = TakeLog();
  EXPECT_NE(log.find("rank 1 (" + LoopbackAddress(1) + "): the other side has said nothing"),
            std::string::npos)
      << log;
  const std::string worker_log = StopWorker();
  EXPECT_NE(worker_log.find("rank 1 has been stopped for too long"), std::string::npos);
  EXPECT_NE(worker_log.find("rank 1 does not answer: thread"), std::string::npos) << worker_log;
  EXPECT_NE(worker_log.find("state T"), std::string::npos) << worker_log;
}

// Of two stages the second hangs, which is of the other host; of one the first rank, for which
// the other waits.
class HungRankOfTwoHosts : public RankOfAnotherHost,
                           public ::testing::WithParamInterface<ParallelShape> {};

TEST_P(HungRankOfTwoHosts, StacksOfAllRanksAreInTheLogsOfTheirHosts) {
  options_.shape = GetParam();
  engine_options_.step_timeout_us = 200'000;
  engine_options_.max_rank_losses = 1;
  ASSERT_TRUE(Start().ok()) << log_.str();
  ASSERT_TRUE(Submit(1, 10, kHangToken).ok());
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kPoison);
  WaitFor(EngineState::kRunning);
  ASSERT_TRUE(Submit(2, 10).ok());
  ExpectWholeAnswer(2, 10);
  const std::string log = TakeLog();
  EXPECT_NE(log.find("rank 0: stack of thread inferd-rank0"), std::string::npos) << log;
  EXPECT_EQ(log.find("rank 1: stack of thread"), std::string::npos) << log;
  const std::string worker_log = StopWorker();
  EXPECT_NE(worker_log.find("rank 1: stack of thread inferd-rank1"), std::string::npos)
      << worker_log << log;
}

INSTANTIATE_TEST_SUITE_P(Shapes, HungRankOfTwoHosts,
                         ::testing::Values(ParallelShape{1, 1, 2}, ParallelShape{2, 1, 1}),
                         [](const auto& shape) { return shape.param.pp > 1 ? "there" : "here"; });

TEST_F(RankOfAnotherHost, ThatDiesWhileIdleIsNoticedWithoutARequest) {
  ASSERT_TRUE(Start().ok()) << log_.str();
  ASSERT_EQ(kill(RemoteRank(), SIGKILL), 0);
  while (engine_->Stats().recovery_seconds.count() == 0) std::this_thread::yield();
  EXPECT_EQ(engine_->Stats().rank_losses, 1U);
  ASSERT_TRUE(Submit(1, 10).ok());
  ExpectWholeAnswer(1, 10);
}

// The toy ranks talk over the groups within the hosts and between them as well.
TEST_F(RankOfAnotherHost, MeetsThoseOfItsHostAndOneOfEachHost) {
  options_.shape = {4, 1, 1, false, 2};
  ASSERT_TRUE(Start().ok()) << log_.str();
  for (RequestId id = 1; id <= 3; ++id) ASSERT_TRUE(Submit(id, 20).ok());
  for (RequestId id = 1; id <= 3; ++id) ExpectWholeAnswer(id, 20);
}

// Each stage is on a host of its own, and its ranks share memory there; when one dies the other
// is started again with it.
TEST_F(RankOfAnotherHost, SharesMemoryWithThoseOfItsHost) {
  options_.shape = {2, 1, 2};
  ASSERT_TRUE(Start().ok()) << log_.str();
  for (RequestId id = 1; id <= 8; ++id) {
    ASSERT_TRUE(Submit(id, 20).ok());
    ExpectWholeAnswer(id, 20);
    EXPECT_EQ(SegmentsOf(3), 1);
    if (id % 4 != 0) continue;
    const uint64_t losses = engine_->Stats().rank_losses;
    ASSERT_EQ(kill(RemoteRank(id == 4 ? 2 : 3), SIGKILL), 0);
    while (engine_->Stats().rank_losses == losses) std::this_thread::yield();
    WaitFor(EngineState::kRunning);
    ASSERT_TRUE(Submit(20 + id, 20).ok());
    ExpectWholeAnswer(20 + id, 20);
    EXPECT_EQ(SegmentsOf(2), 1);
  }
}

// What its host thinks of the model's split is not what counts.
TEST_F(RankOfAnotherHost, GoesByTheLeadersShape) {
  options_.shape = {2, 1, 2};
  worker_options_.shape = {1, 2, 2};
  ASSERT_TRUE(Start().ok()) << log_.str();
  ASSERT_TRUE(Submit(1, 20).ok());
  ExpectWholeAnswer(1, 20);
  EXPECT_EQ(SegmentsOf(2), 0);
  EXPECT_NE(StopWorker().find("splits the model otherwise than the leader"), std::string::npos);
}

TEST_F(RankOfAnotherHost, ThatLoadsGivesUpWhenTheLeaderIsGone) {
  options_.payload = "load for ever";
  options_.start_timeout_us = 1'000'000;
  EXPECT_EQ(Start().code(), StatusCode::kDeadlineExceeded);
  const pid_t rank = RemoteRank();  // -1 when it has ended already
  while (rank > 0 && kill(rank, 0) == 0) std::this_thread::yield();
  const std::string log = StopWorker();
  EXPECT_NE(log.find("rank 1: the engine is gone"), std::string::npos) << log;
  EXPECT_NE(log.find("exited with code 71"), std::string::npos) << log;
}

}  // namespace
}  // namespace inferd::testing

#if defined(__SANITIZE_THREAD__)
// A rank whose engine is gone ends in the midst of its threads: with its own exit code.
extern "C" const char* __tsan_default_options() { return "report_thread_leaks=0"; }
#endif

int main(int argc, char** argv) {
  return inferd::testing::RunTestsOrRank(argc, argv, inferd::testing::LoadToyRank);
}
