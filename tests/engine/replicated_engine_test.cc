#include "inferd/engine/replicated_engine.h"

#include <array>
#include <atomic>
#include <numeric>
#include <thread>

#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"

namespace inferd::testing {
namespace {

constexpr int32_t kBlock = 4;

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return next_.fetch_add(1); }

 private:
  std::atomic<uint64_t> next_{1};
};

RequestSpec Spec(RequestId id, TokenId first, int32_t prompt_tokens, int32_t max_new = 4) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt.resize(static_cast<size_t>(prompt_tokens));
  std::iota(spec.prompt.begin(), spec.prompt.end(), first);
  spec.stop.max_new_tokens = max_new;
  spec.sampling.seed = id;
  return spec;
}

// Says what the test tells it, and remembers what it was asked.
class FakeEngine final : public Engine {
 public:
  Status Submit(RequestSpec spec) override {
    if (!answer.ok()) return answer;
    submitted.push_back(spec.id);
    return OkStatus();
  }
  void CancelRequest(RequestId id) override { cancelled.push_back(id); }
  void FinishChoice(RequestId id, int32_t choice) override { finished.emplace_back(id, choice); }
  void SetQueueLimits(const QueueLimits& limits) override { max_requests = limits.max_requests; }
  EngineStats Stats() const override { return stats; }

  Status answer;
  EngineStats stats;
  std::vector<RequestId> submitted;
  std::vector<RequestId> cancelled;
  std::vector<std::pair<RequestId, int32_t>> finished;
  int32_t max_requests = 0;
};

class RoutingTest : public ::testing::Test {
 protected:
  RoutingTest() {
    std::vector<std::unique_ptr<Engine>> replicas;
    for (FakeEngine*& fake : fakes_) {
      auto replica = std::make_unique<FakeEngine>();
      fake = replica.get();
      replicas.push_back(std::move(replica));
    }
    engine_ = MakeReplicatedEngine(std::move(replicas), {kBlock, 1000}, entropy_);
  }
  // Which of them takes it.
  int Route(TokenId first, int32_t prompt_tokens) {
    const RequestId id = ++id_;
    EXPECT_TRUE(engine_->Submit(Spec(id, first, prompt_tokens)).ok());
    for (size_t r = 0; r < fakes_.size(); ++r) {
      if (!fakes_[r]->submitted.empty() && fakes_[r]->submitted.back() == id) {
        return static_cast<int>(r);
      }
    }
    return -1;
  }

  FixedEntropy entropy_;
  std::array<FakeEngine*, 3> fakes_{};
  std::unique_ptr<Engine> engine_;
  RequestId id_ = 0;
};

TEST_F(RoutingTest, EqualReplicasTakeTurns) {
  std::array<int, 3> counts{};
  for (int i = 0; i < 30; ++i) ++counts[static_cast<size_t>(Route(1000 * i, 20))];
  EXPECT_EQ(counts, (std::array<int, 3>{10, 10, 10}));
}

TEST_F(RoutingTest, APromptGoesWhereItsBeginningIs) {
  const int first = Route(0, 41);
  Route(5000, 41);
  Route(9000, 41);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Route(0, 41 + i), first);
}

TEST_F(RoutingTest, ThePreferenceGivesWayToLoad) {
  const int cached = Route(0, 401);  // 400 tokens in its cache
  FakeEngine& busy = *fakes_[static_cast<size_t>(cached)];
  busy.stats.live_requests = 400 / kTokensPerLiveRequest;
  EXPECT_EQ(Route(0, 401), cached);  // 384 < 400
  busy.stats.live_requests += 1;
  EXPECT_NE(Route(0, 401), cached);  // 416 > 400
  busy.stats.live_requests = 0;
  busy.stats.waiting_prompt_tokens = 401;
  const int third = Route(0, 401);
  EXPECT_NE(third, cached);
}

TEST_F(RoutingTest, WithoutACommonBeginningTheLeastLoadedTakesIt) {
  fakes_[0]->stats.waiting_prompt_tokens = 100;
  fakes_[1]->stats.live_requests = 2;
  fakes_[2]->stats.live_requests = 1;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Route(1000 * i, 20), 2);
  fakes_[2]->stats.live_requests = 20;
  for (int i = 3; i < 6; ++i) EXPECT_EQ(Route(1000 * i, 20), 1);
}

TEST_F(RoutingTest, AReplicaThatRefusesIsPassedOver) {
  fakes_[0]->answer = ResourceExhaustedError("full");
  fakes_[2]->answer = UnavailableError("restarting");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Route(1000 * i, 20), 1);
  fakes_[1]->answer = ResourceExhaustedError("full");
  EXPECT_FALSE(engine_->Submit(Spec(99, 0, 20)).ok());
}

TEST_F(RoutingTest, ABadRequestIsNotTriedElsewhere) {
  fakes_[0]->answer = InvalidArgumentError("too long");  // the first whose turn it is
  EXPECT_EQ(engine_->Submit(Spec(1, 0, 20)).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(fakes_[1]->submitted.empty() && fakes_[2]->submitted.empty());
}

TEST_F(RoutingTest, TheDeadAreLeftOutAndTheLivingSayWhyTheyRefuse) {
  fakes_[0]->stats.state = EngineState::kDead;
  fakes_[0]->answer = UnavailableError("dead");
  for (int i = 0; i < 6; ++i) EXPECT_NE(Route(1000 * i, 20), 0);
  EXPECT_EQ(engine_->Stats().state, EngineState::kRunning);
  fakes_[1]->answer = ResourceExhaustedError("full");
  fakes_[2]->stats.state = EngineState::kDead;
  fakes_[2]->answer = UnavailableError("dead");
  EXPECT_EQ(engine_->Submit(Spec(99, 0, 20)).code(), StatusCode::kResourceExhausted);
  fakes_[1]->stats.state = EngineState::kRecovering;
  EXPECT_EQ(engine_->Stats().state, EngineState::kRecovering);
  fakes_[1]->stats.state = EngineState::kDead;
  EXPECT_TRUE(engine_->Stats().dead());
}

// However little it has to do.
TEST_F(RoutingTest, AReplicaThatRestartsIsAskedLast) {
  fakes_[0]->stats.live_requests = 50;
  fakes_[1]->stats.state = EngineState::kRecovering;
  fakes_[2]->stats.live_requests = 50;
  for (int i = 0; i < 6; ++i) EXPECT_NE(Route(1000 * i, 20), 1);
}

TEST_F(RoutingTest, AReplicaThatLostItsRanksHasLostItsCache) {
  const int cached = Route(0, 401);
  FakeEngine& lost = *fakes_[static_cast<size_t>(cached)];
  lost.stats.rank_losses = 1;
  lost.stats.live_requests = 1;
  EXPECT_NE(Route(0, 401), cached);
}

TEST_F(RoutingTest, CancelsAndLimitsReachAll) {
  engine_->CancelRequest(7);
  engine_->FinishChoice(8, 1);
  QueueLimits limits;
  limits.max_requests = 12;
  engine_->SetQueueLimits(limits);
  for (const FakeEngine* fake : fakes_) {
    EXPECT_EQ(fake->cancelled, std::vector<RequestId>{7});
    EXPECT_EQ(fake->finished.size(), 1U);
    EXPECT_EQ(fake->max_requests, 12);
  }
}

TEST_F(RoutingTest, StatsAreSumsAndTheStepNearestToItsLimitIsTold) {
  for (size_t r = 0; r < fakes_.size(); ++r) {
    EngineStats& stats = fakes_[r]->stats;
    const auto n = static_cast<int32_t>(r + 1);
    stats.running = n;
    stats.blocks_total = 10 * n;
    stats.generation_tokens = static_cast<uint64_t>(100 * n);
    stats.choices_finished[2] = static_cast<uint64_t>(n);
    const std::array<double, 2> bounds = {1.0, 2.0};
    stats.iteration_tokens = Histogram(bounds);
    stats.step_seconds_prefill = stats.step_seconds_decode = stats.step_seconds_mixed =
        stats.recovery_seconds = Histogram(bounds);
    stats.iteration_tokens.ObserveMany(1.5, static_cast<uint64_t>(n));
  }
  fakes_[0]->stats.step_waited_us = 9'000;  // not watched
  fakes_[1]->stats.step_waited_us = 100;
  fakes_[1]->stats.step_limit_us = 10'000;
  fakes_[2]->stats.step_waited_us = 5'000;
  fakes_[2]->stats.step_limit_us = 12'000;
  const EngineStats sum = engine_->Stats();
  EXPECT_EQ(sum.running, 6);
  EXPECT_EQ(sum.blocks_total, 60);
  EXPECT_EQ(sum.generation_tokens, 600U);
  EXPECT_EQ(sum.choices_finished[2], 6U);
  EXPECT_EQ(sum.iteration_tokens.count(), 6U);
  EXPECT_EQ(sum.iteration_tokens.counts()[1], 6U);
  EXPECT_DOUBLE_EQ(sum.iteration_tokens.sum(), 9.0);
  EXPECT_EQ(sum.step_waited_us, 5'000);
  EXPECT_EQ(sum.step_limit_us, 12'000);
}

// Real engines over executors whose draws depend on seed and length alone.
class ReplicasTest : public ::testing::Test {
 protected:
  void Start(size_t count) {
    EngineOptions options;
    options.num_blocks = 65;
    options.block_size = kBlock;
    options.max_running = 4;
    options.max_batched_tokens = 32;
    options.max_model_len = 128;
    std::vector<std::unique_ptr<Engine>> replicas;
    for (size_t r = 0; r < count; ++r) {
      executors_.push_back(std::make_unique<SimpleExecutor>(2, [](uint64_t seed, int32_t length) {
        return static_cast<TokenId>((seed * 31 + static_cast<uint64_t>(length) * 7) % 1000);
      }));
      replicas.push_back(
          StartEngine(options, *executors_.back(), sink_, clock_, entropy_, nullptr));
      engines_.push_back(replicas.back().get());
    }
    engine_ = MakeReplicatedEngine(
        std::move(replicas), {kBlock, static_cast<int64_t>(count) * options.num_blocks}, entropy_);
  }
  ~ReplicasTest() override {
    for (auto& executor : executors_) executor->LetGo();
  }

  SystemClock clock_;
  FixedEntropy entropy_;
  RecordingSink sink_;
  std::vector<std::unique_ptr<SimpleExecutor>> executors_;
  std::unique_ptr<Engine> engine_;
  std::vector<Engine*> engines_;
};

std::vector<TokenId> TextOf(const std::vector<TokenEvent>& events) {
  std::vector<TokenId> tokens;
  for (const TokenEvent& event : events) {
    if (event.token >= 0) tokens.push_back(event.token);
  }
  return tokens;
}

// The same requests, on one and on three: who answers does not show.
TEST_F(ReplicasTest, TheTextIsTheSameWhicheverReplicaWritesIt) {
  constexpr RequestId kRequests = 60;
  std::vector<std::vector<TokenId>> texts[2];
  for (const size_t count : {size_t{1}, size_t{3}}) {
    engine_.reset();
    executors_.clear();
    engines_.clear();
    Start(count);
    const RequestId base = count * 1000;
    for (RequestId i = 0; i < kRequests; ++i) {
      RequestSpec spec =
          Spec(base + i, static_cast<TokenId>(i % 7 * 1000), static_cast<int32_t>(10 + i % 40), 12);
      spec.sampling.seed = i;
      ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
    }
    for (RequestId i = 0; i < kRequests; ++i) {
      texts[count == 1 ? 0 : 1].push_back(TextOf(sink_.WaitForEnd(base + i)));
    }
    EXPECT_EQ(engine_->Stats().requests_submitted, kRequests);
    for (Engine* engine : engines_) EXPECT_GT(engine->Stats().requests_submitted, 0U);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

TEST_F(ReplicasTest, ARepeatedPromptFindsTheCacheItFilled) {
  Start(3);
  for (RequestId i = 0; i < 9; ++i) {
    // Three conversations, one after the other, so that each block is published.
    ASSERT_TRUE(engine_->Submit(Spec(i, static_cast<TokenId>(i % 3 * 1000), 41)).ok());
    const auto events = sink_.WaitForEnd(i);
    EXPECT_EQ(events.front().cached_tokens, i < 3 ? 0 : 40) << i;
    while (engine_->Stats().live_requests != 0) std::this_thread::yield();
  }
}

TEST_F(ReplicasTest, AFailedReplicaEndsItsRequestsAndTheOthersGoOn) {
  Start(2);
  for (auto& executor : executors_) executor->Hold();
  ASSERT_TRUE(engine_->Submit(Spec(1, 0, 20)).ok());
  ASSERT_TRUE(engine_->Submit(Spec(2, 1000, 20)).ok());
  const size_t first = engines_[0]->Stats().live_requests == 1 ? 0 : 1;
  EXPECT_EQ(engines_[1 - first]->Stats().live_requests, 1);
  executors_[0]->Fail(InternalError("broken"));
  EXPECT_EQ(sink_.WaitForFinish(1), FinishReason::kEngineDead);
  while (!engines_[0]->Stats().dead()) std::this_thread::yield();
  EXPECT_FALSE(engine_->Stats().dead());
  executors_[1]->LetGo();
  EXPECT_EQ(sink_.WaitForFinish(2), FinishReason::kLength);
  for (RequestId id = 3; id < 9; ++id) {
    ASSERT_TRUE(engine_->Submit(Spec(id, static_cast<TokenId>(id * 1000), 20)).ok());
    EXPECT_EQ(sink_.WaitForFinish(id), FinishReason::kLength);
  }
}

TEST_F(ReplicasTest, ACancelFindsItsRequestWhereverItIs) {
  Start(3);
  for (auto& executor : executors_) executor->Hold();
  for (RequestId id = 1; id <= 6; ++id) {
    ASSERT_TRUE(engine_->Submit(Spec(id, static_cast<TokenId>(id * 1000), 20)).ok());
  }
  for (RequestId id = 1; id <= 6; ++id) engine_->CancelRequest(id);
  for (auto& executor : executors_) executor->LetGo();
  for (RequestId id = 1; id <= 6; ++id) {
    EXPECT_EQ(sink_.WaitForFinish(id), FinishReason::kCancelled);
  }
}

}  // namespace
}  // namespace inferd::testing
