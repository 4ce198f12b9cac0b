// Engine and rank together, on the checkpoints of tests/golden: the text is that
// of transformers at every depth, after a prefix hit and across preemptions.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "golden_files.h"
#include "inferd/engine/engine.h"
#include "inferd/runtime/rank.h"

namespace inferd {
namespace {

using testing::ExpectedPrompt;
using testing::GoldenDir;
using testing::GoldenFamilies;
using testing::MakeTestBackend;
using testing::ReadExpected;

struct Answer {
  std::vector<TokenId> tokens;
  int32_t cached_tokens = 0;
  FinishReason finish = FinishReason::kNone;
};

class CollectingSink final : public OutputSink {
 public:
  void Post(std::vector<TokenEvent>&& events) override {
    const std::lock_guard lock(mutex_);
    for (const TokenEvent& e : events) {
      Answer& answer = answers_[e.request];
      if (e.token >= 0) answer.tokens.push_back(e.token);
      answer.cached_tokens = std::max(answer.cached_tokens, e.cached_tokens);
      answer.finish = e.finish;
    }
    changed_.notify_all();
  }
  Answer Wait(RequestId request) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answers_[request].finish != FinishReason::kNone; });
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

RequestSpec Greedy(RequestId id, const ExpectedPrompt& expected) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt = expected.ids;
  spec.sampling.temperature = 0.0F;
  spec.stop.max_new_tokens = static_cast<int32_t>(expected.greedy.size());
  return spec;
}

class EngineGoldenTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string, int>> {};

TEST_P(EngineGoldenTest, TextIsThatOfTransformers) {
  const auto& [family, backend_name, depth] = GetParam();
  const std::vector<ExpectedPrompt> expected = ReadExpected(GoldenDir(family));
  const std::unique_ptr<Backend> backend = MakeTestBackend(backend_name);
  if (backend == nullptr) GTEST_SKIP() << "no backend " << backend_name;
  RankOptions rank;
  rank.model_dir = GoldenDir(family);
  rank.memory.max_running = 4;
  rank.memory.max_batched_tokens = 48;
  rank.memory.kv_dtype = DType::kF32;
  // The three texts need 59 blocks of 16 at their ends: someone is preempted.
  rank.memory.num_blocks = 45;
  rank.max_in_flight = depth;
  const SystemClock clock;
  auto executor = StartLocalExecutor(rank, backend->ops(), clock, nullptr);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();

  EngineOptions options;
  options.num_blocks = (*executor)->info().memory.num_blocks;
  options.max_model_len = (*executor)->info().memory.max_model_len;
  options.max_running = rank.memory.max_running;
  options.max_batched_tokens = rank.memory.max_batched_tokens;
  options.depth = depth;
  CollectingSink sink;
  FixedEntropy entropy;
  const auto engine = StartEngine(options, **executor, sink, clock, entropy, nullptr);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(engine->Submit(Greedy(i + 1, expected[i])).ok());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const Answer answer = sink.Wait(i + 1);
    EXPECT_EQ(answer.finish, FinishReason::kLength);
    EXPECT_EQ(answer.tokens, expected[i].greedy) << "prompt " << i;
  }
  EXPECT_GT(engine->Stats().preemptions, 0U);

  ASSERT_TRUE(engine->Submit(Greedy(100, expected.back())).ok());
  const Answer again = sink.Wait(100);
  EXPECT_GE(again.cached_tokens, 16);
  EXPECT_EQ(again.tokens, expected.back().greedy);
}

INSTANTIATE_TEST_SUITE_P(Families, EngineGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::Values("ref", "cpu"),
                                            ::testing::Values(1, 2)),
                         [](const auto& p) {
                           return std::get<0>(p.param) + "_" + std::get<1>(p.param) + "_depth" +
                                  std::to_string(std::get<2>(p.param));
                         });

}  // namespace
}  // namespace inferd
