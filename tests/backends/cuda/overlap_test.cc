// Steps that overlap: the device's next step is enqueued before the host knows what the
// last one drew. The fake runtime does work when the host waits for it and no sooner, so
// that whatever is read too early is not there.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/step_graphs.h"
#include "inferd/engine/engine.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"

namespace inferd::testing {
namespace {

constexpr int32_t kSlots = 4;
constexpr char kFamily[] = "llama3";

RankOptions SmallRank(int32_t num_blocks) {
  RankOptions options;
  options.model_dir = GoldenDir(kFamily);
  options.memory.max_running = kSlots;
  options.memory.max_batched_tokens = 32;
  options.memory.max_model_len = 64;
  options.memory.block_size = 4;
  options.memory.num_blocks = num_blocks;
  options.memory.kv_dtype = DType::kF32;
  return options;
}

// ---- a rank ----

// One sequence on slot 2 that decodes; step 0 takes the prompt.
class SingleSequence {
 public:
  explicit SingleSequence(SamplingParams sampling) : sampling_(std::move(sampling)) {}
  BatchPlan Next() {
    BatchPlan plan;
    plan.step = step_;
    StepEntry entry;
    entry.slot = 2;
    entry.sample = 1;
    if (step_ == 0) {
      plan.tokens = {5, 17, 9};
      AdmittedSequence sequence;
      sequence.slot = 2;
      sequence.num_tokens = sequence.num_prompt = 3;
      sequence.sampling = sampling_;
      plan.admitted.push_back(sequence);
      entry.count = 3;
    } else {
      entry.start = 2 + step_;
      entry.count = 1;
      entry.input_on_device = 1;
    }
    while (blocks_ * 4 < entry.start + entry.count) {
      plan.new_blocks.push_back(++blocks_);
      ++entry.num_new_blocks;
    }
    plan.entries.push_back(entry);
    ++step_;
    return plan;
  }

 private:
  const SamplingParams sampling_;
  int32_t step_ = 0;
  int32_t blocks_ = 0;
};

class OverlapTest : public ::testing::Test {
 protected:
  void SetUp() override { Restart(); }
  // `ahead`: how many steps have begun when one is ended.
  std::vector<TokenId> Draw(const SamplingParams& sampling, int steps, int ahead) {
    SingleSequence sequence(sampling);
    std::vector<TokenId> tokens;
    int begun = 0;
    while (static_cast<int>(tokens.size()) < steps) {
      while (begun < steps && begun - static_cast<int>(tokens.size()) < ahead) {
        rank_->Begin(sequence.Next());
        ++begun;
      }
      StepResult result = rank_->End();
      EXPECT_TRUE(result.error.ok()) << result.error.ToString();
      if (result.outputs.size() != 1) break;
      tokens.push_back(result.outputs[0].token);
      if (sampling.logprobs >= 0) {
        EXPECT_EQ(result.outputs[0].num_top, sampling.logprobs);
      }
    }
    return tokens;
  }
  void Restart() {
    rank_ = nullptr;
    backend_ = nullptr;
    ResetFakeCuda();
    backend_ = MakeCudaBackend({}).value();
    auto rank = LoadRank(SmallRank(60), {}, {}, backend_->ops(), clock_, nullptr);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    rank_ = std::move(*rank);
  }

  SystemClock clock_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Rank> rank_;
};

TEST_F(OverlapTest, TheDeviceHasTheNextStepBeforeTheHostHasTheToken) {
  ASSERT_EQ(rank_->MaxSteps(), 2);
  SamplingParams greedy;
  greedy.temperature = 0;
  const auto draw = [&](int ahead) {
    EXPECT_TRUE(rank_->WarmUp().ok());
    while (rank_->Tend()) {
    }
    return Draw(greedy, 12, ahead);
  };
  const std::vector<TokenId> one_by_one = draw(1);
  EXPECT_EQ(FakeCuda().graphs_overlapped, 0);
  Restart();
  const std::vector<TokenId> ahead = draw(2);
  // The first step is the prompt's, and no graph is before the second.
  EXPECT_EQ(FakeCuda().graphs_overlapped, 10);
  EXPECT_EQ(ahead, one_by_one);
}

// Whatever the host would have had to know of the last token, the device knows.
TEST_F(OverlapTest, TheSameTokensHoweverTheyAreDrawn) {
  SamplingParams drawn;
  drawn.temperature = 0.9F;
  drawn.seed = 11;
  SamplingParams penalties = drawn;
  penalties.repetition_penalty = 1.4F;
  penalties.presence_penalty = 0.7F;
  penalties.frequency_penalty = 0.9F;
  SamplingParams logprobs = penalties;
  logprobs.logprobs = 3;
  SamplingParams on_host = penalties;
  on_host.logprobs = 200;  // more than the kernels have room for
  for (const SamplingParams& sampling : {drawn, penalties, logprobs, on_host}) {
    Restart();
    const std::vector<TokenId> one_by_one = Draw(sampling, 8, 1);
    Restart();
    EXPECT_EQ(Draw(sampling, 8, 2), one_by_one);
  }
}

TEST_F(OverlapTest, MoreThanItHasRoomForIsNotBegun) {
  SamplingParams greedy;
  greedy.temperature = 0;
  SingleSequence sequence(greedy);
  rank_->Begin(sequence.Next());
  rank_->Begin(sequence.Next());
  const BatchPlan third = sequence.Next();
  EXPECT_DEATH(rank_->Begin(third), "");
}

TEST_F(OverlapTest, AStepIsDoneWhenTheDeviceSaysSo) {
  SamplingParams greedy;
  greedy.temperature = 0;
  SingleSequence sequence(greedy);
  rank_->Begin(sequence.Next());
  EXPECT_FALSE(rank_->IsDone());
  int asked = 1;
  while (!rank_->IsDone()) ++asked;
  EXPECT_GT(asked, 10);
  EXPECT_TRUE(rank_->End().error.ok());
}

// Graphs are recorded when there is time: after the rank is ready, the largest first, with
// nothing computed, and also while steps are under way.
TEST_F(OverlapTest, GraphsAreRecordedBesideTheService) {
  SamplingParams greedy;
  greedy.temperature = 0;
  const std::vector<TokenId> tokens = Draw(greedy, 8, 1);
  Restart();
  EXPECT_FALSE(rank_->Tend());  // no step has run
  ASSERT_TRUE(rank_->WarmUp().ok());
  EXPECT_EQ(FakeCuda().graphs, 0);  // ready
  SingleSequence sequence(greedy);
  const auto step = [&] { rank_->Begin(sequence.Next()); };
  const auto token = [&] {
    const StepResult result = rank_->End();
    EXPECT_TRUE(result.error.ok()) << result.error.ToString();
    return result.outputs.empty() ? -1 : result.outputs[0].token;
  };
  step();
  EXPECT_EQ(token(), tokens[0]);
  const int64_t kernels = FakeCuda().kernels;
  ASSERT_TRUE(rank_->Tend());
  EXPECT_EQ(FakeCuda().graphs, 1);
  EXPECT_EQ(FakeCuda().kernels, kernels);
  step();  // one row: not the largest number
  EXPECT_EQ(FakeCuda().graph_launches, 0);
  EXPECT_EQ(token(), tokens[1]);
  step();
  step();
  ASSERT_TRUE(rank_->Tend());
  ASSERT_TRUE(rank_->Tend());
  EXPECT_FALSE(rank_->Tend());  // 4, 2 and 1 rows
  EXPECT_EQ(FakeCuda().graphs, 3);
  EXPECT_EQ(FakeCuda().graph_launches, 0);
  EXPECT_EQ(token(), tokens[2]);
  EXPECT_EQ(token(), tokens[3]);
  for (size_t i = 4; i < tokens.size(); ++i) {
    step();
    EXPECT_EQ(token(), tokens[i]);
  }
  EXPECT_EQ(FakeCuda().graph_launches, 4);
}

// Without such time a number of rows that comes again and again is recorded by its step.
TEST_F(OverlapTest, WithoutTimeAStepRecordsItself) {
  SamplingParams greedy;
  greedy.temperature = 0;
  Draw(greedy, StepGraphs::kPatience, 1);  // the first is a prefill
  EXPECT_EQ(FakeCuda().graphs, 0);
  Restart();
  Draw(greedy, StepGraphs::kPatience + 1, 1);
  EXPECT_EQ(FakeCuda().graphs, 1);
  EXPECT_EQ(FakeCuda().graph_launches, 1);
}

// A graph that the runtime does not make costs nothing but itself, wherever it is refused: by its
// step, whose ops are enqueued one by one then, or beside the service.
TEST_F(OverlapTest, WithoutAGraphTheStepGoesOn) {
  SamplingParams greedy;
  greedy.temperature = 0;
  constexpr int kTokens = StepGraphs::kPatience + 6;
  const std::vector<TokenId> tokens = Draw(greedy, kTokens, 1);
  for (const FakeGraphCall call : {FakeGraphCall::kBeginCapture, FakeGraphCall::kEndCapture,
                                   FakeGraphCall::kInstantiate, FakeGraphCall::kUpload}) {
    for (const bool beside : {false, true}) {
      for (const int ahead : {1, 2}) {
        Restart();
        RefuseFakeGraphCall(call, 1);
        if (beside) {
          ASSERT_TRUE(rank_->WarmUp().ok());
          while (rank_->Tend()) {
          }
          EXPECT_EQ(FakeCuda().graphs_refused, 1);
        }
        EXPECT_EQ(Draw(greedy, kTokens, ahead), tokens) << static_cast<int>(call) << beside;
        EXPECT_EQ(FakeCuda().graphs_refused, 1);
        EXPECT_EQ(FakeCuda().graphs, 0);
        EXPECT_EQ(FakeCuda().graph_launches, 0);
      }
    }
  }
}

// A plan that takes a slot away while its token is being drawn is refused, and the token
// does not end up in who comes next.
TEST_F(OverlapTest, ASlotIsNotReleasedBeforeItsResult) {
  SamplingParams greedy;
  greedy.temperature = 0;
  SingleSequence sequence(greedy);
  rank_->Begin(sequence.Next());
  BatchPlan early;
  early.step = 1;
  early.released = {2};
  rank_->Begin(early);
  EXPECT_EQ(rank_->End().error.code(), StatusCode::kInternal);
}

// ---- the engine above it ----

struct Answer {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;

  bool operator==(const Answer&) const = default;
};

class CollectingSink final : public OutputSink {
 public:
  void Post(std::vector<TokenEvent>&& events) override {
    const std::lock_guard lock(mutex_);
    for (const TokenEvent& e : events) {
      Answer& answer = answers_[e.request];
      EXPECT_EQ(answer.finish, FinishReason::kNone);  // nothing after the end
      if (e.token >= 0) answer.tokens.push_back(e.token);
      answer.finish = e.finish;
    }
    changed_.notify_all();
  }
  Answer Wait(RequestId request, size_t tokens = SIZE_MAX) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      const Answer& answer = answers_[request];
      return answer.finish != FinishReason::kNone || answer.tokens.size() >= tokens;
    });
    return answers_[request];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Answer> answers_;
};

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return 42; }
};

class OverlapEngineTest : public ::testing::Test {
 protected:
  void Start(int depth, int32_t num_blocks) {
    ResetFakeCuda();
    backend_ = MakeCudaBackend({}).value();
    RankOptions rank = SmallRank(num_blocks);
    rank.max_in_flight = depth;
    executor_ = StartLocalExecutor(rank, backend_->ops(), clock_, nullptr).value();
    EngineOptions options;
    options.num_blocks = executor_->info().memory.num_blocks;
    options.block_size = rank.memory.block_size;
    options.max_model_len = rank.memory.max_model_len;
    options.max_running = kSlots;
    options.max_batched_tokens = rank.memory.max_batched_tokens;
    options.depth = depth;
    sink_ = std::make_unique<CollectingSink>();
    engine_ = StartEngine(options, *executor_, *sink_, clock_, entropy_, nullptr);
  }
  void TearDown() override { Stop(); }
  void Stop() {
    engine_ = nullptr;
    executor_ = nullptr;
    backend_ = nullptr;
  }
  void Submit(RequestId id, int32_t length, std::vector<TokenId> stops = {}) {
    RequestSpec spec;
    spec.id = id;
    for (int32_t i = 0; i < length; ++i) {
      spec.prompt.push_back(static_cast<TokenId>((id * 31 + static_cast<uint64_t>(i) * 7) % 200));
    }
    spec.sampling.temperature = id % 2 == 0 ? 0.8F : 0.0F;
    spec.sampling.repetition_penalty = id % 3 == 0 ? 1.3F : 1.0F;
    spec.sampling.seed = id;
    spec.stop.max_new_tokens = 14;
    spec.stop.stop_tokens = std::move(stops);
    ASSERT_TRUE(engine_->Submit(std::move(spec)).ok());
  }
  std::vector<Answer> Run(int depth, int32_t num_blocks, const std::vector<TokenId>& stops) {
    Start(depth, num_blocks);
    for (RequestId id = 1; id <= 4; ++id) Submit(id, 6 + 3 * static_cast<int32_t>(id), stops);
    std::vector<Answer> answers;
    for (RequestId id = 1; id <= 4; ++id) answers.push_back(sink_->Wait(id));
    preemptions_ = engine_->Stats().preemptions;
    Stop();
    return answers;
  }

  SystemClock clock_;
  FixedEntropy entropy_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<CollectingSink> sink_;
  std::unique_ptr<Engine> engine_;
  uint64_t preemptions_ = 0;
};

TEST_F(OverlapEngineTest, TheSameAnswersAtDepthOneAndTwo) {
  const std::vector<Answer> one = Run(1, 60, {});
  for (const Answer& answer : one) EXPECT_EQ(answer.finish, FinishReason::kLength);
  EXPECT_EQ(Run(2, 60, {}), one);
  // A stop token is seen when the step after it is on its way.
  const std::vector<TokenId> stops = {one[0].tokens[5], one[1].tokens[8], one[3].tokens[11]};
  const std::vector<Answer> stopped = Run(1, 60, stops);
  EXPECT_EQ(stopped[0].finish, FinishReason::kStopToken);
  EXPECT_LE(stopped[0].tokens.size(), 6u);
  EXPECT_EQ(Run(2, 60, stops), stopped);
  // Memory for less than half of them: some are preempted and go on.
  EXPECT_EQ(Run(2, 16, {}), one);
  EXPECT_GT(preemptions_, 0u);
}

TEST_F(OverlapEngineTest, CancellationLeavesTheOthersAlone) {
  const std::vector<Answer> one = Run(1, 60, {});
  Start(2, 60);
  for (RequestId id = 1; id <= 4; ++id) Submit(id, 6 + 3 * static_cast<int32_t>(id));
  sink_->Wait(2, 3);
  engine_->CancelRequest(2);
  sink_->Wait(1, 6);
  engine_->CancelRequest(1);
  for (RequestId id = 1; id <= 4; ++id) {
    const Answer answer = sink_->Wait(id);
    const std::vector<TokenId>& whole = one[id - 1].tokens;
    ASSERT_LE(answer.tokens.size(), whole.size());
    EXPECT_TRUE(std::equal(answer.tokens.begin(), answer.tokens.end(), whole.begin()));
    if (id > 2) {
      EXPECT_EQ(answer, one[id - 1]);
    }
  }
  // Slots of the cancelled are taken over.
  Submit(5, 9);
  Submit(6, 9);
  EXPECT_EQ(sink_->Wait(5).finish, FinishReason::kLength);
  EXPECT_EQ(sink_->Wait(6).finish, FinishReason::kLength);
}

}  // namespace
}  // namespace inferd::testing
