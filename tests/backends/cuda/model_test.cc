// Whole models on the device backend, emulated: the tokens that transformers draws,
// graphs that change no bit, memory that is taken once, and errors that end the rank.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/fake_cuda.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/plan_driver.h"
#include "runtime/tap_ops.h"

namespace inferd::testing {
namespace {

constexpr int32_t kSlots = 4;
constexpr int kLaunchFailure = 719;

// As ops that cannot take rows out of a packed head.
class CopiesTheTable final : public TapOps {
 public:
  using TapOps::TapOps;
  bool ReadsRows(WeightFormat /*format*/) const override { return false; }
};

class CudaModelTest : public ::testing::Test {
 protected:
  struct Rank {
    std::unique_ptr<Backend> backend;
    std::unique_ptr<TapOps> tap;
    std::unique_ptr<LocalExecutor> executor;
  };

  void SetUp() override { ResetFakeCuda(); }

  StatusOr<Rank> Start(const std::string& family, bool graphs, bool tap = true, int device = 0,
                       const std::filesystem::path& tuning = {}) {
    Rank rank;
    BackendOptions options;
    options.graphs = graphs;
    options.device = device;
    options.tuning_directory = tuning;
    INFERD_ASSIGN_OR_RETURN(rank.backend, MakeCudaBackend(options));
    rank.tap = copies_table_ ? std::make_unique<CopiesTheTable>(rank.backend->ops())
                             : std::make_unique<TapOps>(rank.backend->ops());
    RankOptions rank_options;
    rank_options.model_dir = GoldenDir(family);
    rank_options.memory.max_running = kSlots;
    rank_options.memory.max_batched_tokens = 96;
    rank_options.memory.max_model_len = 256;
    rank_options.memory.kv_dtype = DType::kF32;
    Ops& ops = tap ? static_cast<Ops&>(*rank.tap) : rank.backend->ops();
    INFERD_ASSIGN_OR_RETURN(rank.executor, StartLocalExecutor(rank_options, ops, clock_, nullptr));
    return rank;
  }

  static std::vector<DrivenPrompt> Prompts(const std::string& family, int32_t max_new) {
    return GoldenPrompts(ReadExpected(GoldenDir(family)), max_new);
  }

  static std::vector<DrivenResult> Drive(Rank& rank, const std::vector<DrivenPrompt>& prompts,
                                         int32_t depth) {
    PlanDriver driver(*rank.executor, kSlots, 16, rank.executor->info().memory.num_blocks);
    return driver.Run(prompts, 96, depth);
  }

  // Graphs are recorded beside the service: of 4, 2 and 1 rows.
  static void WaitForGraphs() {
    for (int ms = 0; FakeCuda().graphs < 3 && ms < 60000; ++ms) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(FakeCuda().graphs, 3);
  }

  bool copies_table_ = false;
  SystemClock clock_;
};

TEST_F(CudaModelTest, TheTokensOfTransformers) {
  constexpr int32_t kNew = 6;
  for (const std::string family : {"llama3", "qwen2", "qwen3"}) {
    SCOPED_TRACE(family);
    auto rank = Start(family, /*graphs=*/true);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    WaitForGraphs();
    const int64_t launched = FakeCuda().graph_launches;
    const auto results = Drive(*rank, Prompts(family, kNew), 2);
    const auto expected = ReadExpected(GoldenDir(family));
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const size_t count = results[i].tokens.size();
      ASSERT_GT(count, 0u);
      EXPECT_EQ(results[i].tokens,
                std::vector<TokenId>(expected[i].greedy.begin(),
                                     expected[i].greedy.begin() + static_cast<int64_t>(count)))
          << "prompt " << i;
    }
    EXPECT_GT(FakeCuda().graph_launches, launched);
  }
}

// At load, in memory that is free then, and once: a second start finds the file.
TEST_F(CudaModelTest, ProductsAreTunedWhereThereIsADirectory) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("tuning-model-" + std::to_string(getpid()));
  const auto prompts = Prompts("llama3", 3);
  std::vector<DrivenResult> plain;
  int64_t products_at_load = 0;
  {
    auto rank = Start("llama3", /*graphs=*/true);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    products_at_load = FakeCuda().library_products;
    plain = Drive(*rank, prompts, 2);
  }
  for (const bool first : {true, false}) {
    ResetFakeCuda();
    auto rank = Start("llama3", true, true, 0, directory);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    EXPECT_EQ(FakeCuda().library_products > products_at_load, first);
    EXPECT_EQ(FakeCuda().device_allocations, 1);
    EXPECT_FALSE(std::filesystem::is_empty(directory));
    const auto results = Drive(*rank, prompts, 2);
    ASSERT_EQ(results.size(), plain.size());
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(results[i].tokens, plain[i].tokens);
  }
  std::filesystem::remove_all(directory);
}

// A backend is made by one thread and used by another, whose device is the first one.
TEST_F(CudaModelTest, ASecondGpuOnAThreadOfItsOwn) {
  SetFakeDevices(2);
  const auto prompts = Prompts("llama3", 3);
  auto first = Start("llama3", true, true, 0);
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  std::thread([&] {
    auto rank = Start("llama3", true, true, 1);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    const auto results = Drive(*first, prompts, 2);
    std::thread([&] {
      const auto others = Drive(*rank, prompts, 2);
      ASSERT_EQ(others.size(), results.size());
      for (size_t i = 0; i < others.size(); ++i) EXPECT_EQ(others[i].tokens, results[i].tokens);
    }).join();
  }).join();
}

// Also with padding: three sequences decode in a bucket of four.
TEST_F(CudaModelTest, GraphsChangeNoBit) {
  const std::string family = "llama3";
  auto prompts = Prompts(family, 8);
  if (prompts.size() > 3) prompts.resize(3);
  std::map<TapOps::Key, std::vector<float>> plain;
  {
    auto rank = Start(family, /*graphs=*/false);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    Drive(*rank, prompts, 1);
    EXPECT_EQ(FakeCuda().graph_launches, 0);
    plain = rank->tap->logits();
  }
  auto rank = Start(family, /*graphs=*/true);
  ASSERT_TRUE(rank.ok()) << rank.status().ToString();
  WaitForGraphs();
  Drive(*rank, prompts, 1);
  EXPECT_GT(FakeCuda().graph_launches, 4);
  ASSERT_EQ(rank->tap->logits().size(), plain.size());
  for (const auto& [key, logits] : rank->tap->logits()) {
    const std::vector<float>& other = plain.at(key);
    ASSERT_EQ(std::memcmp(logits.data(), other.data(), logits.size() * sizeof(float)), 0)
        << "seed " << key.first << " position " << key.second;
  }
}

// A runtime that makes one graph and has no memory for another: that one is used, other steps go
// op by op, and nothing ends.
TEST_F(CudaModelTest, WithoutGraphsServiceGoesOn) {
  const std::string family = "llama3";
  const auto prompts = Prompts(family, 24);
  std::vector<DrivenResult> plain;
  {
    auto rank = Start(family, /*graphs=*/false);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    plain = Drive(*rank, prompts, 2);
  }
  for (const int graphs : {0, 1}) {
    ResetFakeCuda();
    SetFakeGraphs(graphs);
    auto rank = Start(family, /*graphs=*/true);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    for (int ms = 0; FakeCuda().graphs_refused == 0 && ms < 60000; ++ms) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto results = Drive(*rank, prompts, 2);
    ASSERT_EQ(results.size(), plain.size());
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(results[i].tokens, plain[i].tokens);
    EXPECT_EQ(FakeCuda().graphs, graphs);
    EXPECT_EQ(FakeCuda().graphs_refused, 1);
    EXPECT_EQ(FakeCuda().graph_launches > 0, graphs > 0);
  }
}

TEST_F(CudaModelTest, AllMemoryIsTakenBeforeTheFirstStep) {
  auto rank = Start("llama3", /*graphs=*/true);
  ASSERT_TRUE(rank.ok()) << rank.status().ToString();
  const FakeCudaCounts ready = FakeCuda();
  EXPECT_EQ(ready.device_allocations, 1);
  EXPECT_GE(ready.device_bytes, rank->executor->info().memory.total_bytes);
  Drive(*rank, Prompts("llama3", 6), 2);
  const FakeCudaCounts after = FakeCuda();
  EXPECT_EQ(after.device_allocations, ready.device_allocations);
  EXPECT_EQ(after.host_allocations, ready.host_allocations);
  EXPECT_GT(after.kernels, ready.kernels);
}

// Embedding and head of a model with tied weights are one matrix on the device, which the plan
// counts once; of other models each has its own.
TEST_F(CudaModelTest, ATiedTableIsHeldOnce) {
  struct Held {
    MemoryPlan plan;
    int64_t bytes = 0;
    std::map<TapOps::Key, std::vector<float>> logits;
  };
  const auto hold = [this](const std::string& family, bool copies_table) {
    ResetFakeCuda();
    copies_table_ = copies_table;
    auto rank = Start(family, /*graphs=*/false);
    EXPECT_TRUE(rank.ok()) << rank.status().ToString();
    Drive(*rank, Prompts(family, 3), 1);
    const Device& device = static_cast<CudaOps&>(rank->backend->ops()).device();
    const MemoryPlan& plan = rank->executor->info().memory;
    EXPECT_EQ(device.arena_bytes(),
              static_cast<size_t>(plan.total_bytes) / ArenaMap::kUnit * ArenaMap::kUnit);
    return Held{plan, static_cast<int64_t>(device.allocated_bytes()), rank->tap->logits()};
  };
  const Held once = hold("llama3", false);
  const Held twice = hold("llama3", true);
  const int64_t table = twice.plan.mapped_bytes;
  ASSERT_GT(table, 0);
  ASSERT_EQ(table % static_cast<int64_t>(ArenaMap::kUnit), 0);
  EXPECT_EQ(twice.bytes - once.bytes, table);
  EXPECT_EQ(once.plan.mapped_bytes, 0);
  EXPECT_EQ(once.plan.copied_bytes, 0);
  EXPECT_EQ(twice.plan.copied_bytes, table);
  EXPECT_EQ(UseOf(twice.plan).weights - UseOf(once.plan).weights, table);
  // Beside the table the plan has a share of it for padding.
  EXPECT_EQ(twice.plan.total_bytes - once.plan.total_bytes, table + table / 128);
  EXPECT_EQ(once.logits, twice.logits);

  const Held untied = hold("qwen3", false);
  EXPECT_GT(untied.plan.mapped_bytes, 0);
  EXPECT_EQ(untied.plan.copied_bytes, untied.plan.mapped_bytes);
}

TEST_F(CudaModelTest, ADeviceThatIsTooSmallIsRefused) {
  ResetFakeCuda(int64_t{32} << 20);
  const auto rank = Start("llama3", true);
  EXPECT_EQ(rank.status().code(), StatusCode::kResourceExhausted) << rank.status().ToString();
}

// Whichever call fails, at load or in service: an error is answered, and nothing else
// from then on. What is left is given back without a crash.
TEST_F(CudaModelTest, AnErrorEndsTheRank) {
  const std::string family = "llama3";
  auto prompts = Prompts(family, 4);
  prompts.resize(1);
  int64_t calls_at_load = 0;
  int64_t calls_in_all = 0;
  {
    // Without graphs nothing is called beside the service.
    auto rank = Start(family, /*graphs=*/false, /*tap=*/false);
    ASSERT_TRUE(rank.ok());
    calls_at_load = FakeCuda().calls;
    Drive(*rank, prompts, 1);
    calls_in_all = FakeCuda().calls;
  }
  ASSERT_GT(calls_in_all, calls_at_load);
  for (int64_t call = 1; call < calls_at_load; call += 1 + calls_at_load / 12) {
    ResetFakeCuda();
    FailFakeCuda(call, kLaunchFailure);
    EXPECT_FALSE(Start(family, true, false).ok()) << "call " << call;
  }
  for (int64_t call = calls_at_load + 1; call < calls_in_all;
       call += 1 + (calls_in_all - calls_at_load) / 24) {
    ResetFakeCuda();
    auto rank = Start(family, true, false);
    ASSERT_TRUE(rank.ok());
    FailFakeCuda(call - calls_at_load, kLaunchFailure);
    // The driver stops at the first error, and the executor answers it from then on.
    Executor& executor = *rank->executor;
    auto plan = std::make_shared<BatchPlan>();
    AdmittedSequence sequence;
    sequence.slot = 0;
    sequence.num_tokens = 1;
    sequence.num_prompt = 1;
    plan->admitted.push_back(sequence);
    plan->tokens.push_back(1);
    plan->new_blocks.push_back(1);
    StepEntry entry;
    entry.slot = 0;
    entry.count = 1;
    entry.num_new_blocks = 1;
    entry.sample = 1;
    plan->entries.push_back(entry);
    bool failed = false;
    for (int step = 0; step < 50 && !failed; ++step) {
      auto next = std::make_shared<BatchPlan>();
      if (step == 0) next = plan;
      if (step > 0) {
        StepEntry decode;
        decode.slot = 0;
        decode.start = step;
        decode.count = 1;
        decode.sample = 1;
        if (step % 16 == 0) {
          decode.num_new_blocks = 1;
          next->new_blocks.push_back(1 + step / 16);
        }
        next->entries.push_back(decode);
      }
      next->step = step;
      executor.Submit(next);
      const StepResult result = executor.Await();
      failed = !result.error.ok();
      if (failed) {
        EXPECT_TRUE(result.outputs.empty());
      }
    }
    EXPECT_TRUE(failed) << "call " << call;
  }
  FailFakeCuda(0, 0);
}

}  // namespace
}  // namespace inferd::testing
