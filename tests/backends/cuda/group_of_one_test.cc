// A group of one: what a machine with one GPU can run of NCCL, the whole way of a group of
// many but for the others. Linked for the emulated device, and for a real one
// (tests/device/run.sh).
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "backends/cuda/backend_under_test.h"
#include "inferd/comm/thread_group.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/plan_driver.h"

namespace inferd::testing {
namespace {

constexpr int32_t kSlots = 4;

// A rank as an executor: plans run as they come.
class RankExecutor final : public Executor {
 public:
  explicit RankExecutor(Rank& rank) : rank_(rank) {}
  void Submit(std::shared_ptr<const BatchPlan> plan) override { result_ = rank_.Run(*plan); }
  StepResult Await() override { return std::move(result_); }
  int max_in_flight() const override { return 1; }

 private:
  Rank& rank_;
  StepResult result_;
};

class GroupOfOneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto hosts = MakeThreadGroup(1, CommOptions(), clock_);
    ASSERT_TRUE(hosts.ok());
    host_ = std::move(hosts->front());
    auto backend = MakeBackendUnderTest();
    if (!backend.ok()) GTEST_SKIP() << backend.status().ToString();
    backend_ = std::move(*backend);
    const Status group = backend_->CheckGroup(1);
    if (!group.ok()) GTEST_SKIP() << group.ToString();
  }

  SystemClock clock_;
  std::unique_ptr<Communicator> host_;
  std::unique_ptr<Backend> backend_;
};

TEST_F(GroupOfOneTest, CollectivesChangeNothing) {
  Ops& ops = backend_->ops();
  auto made = ops.MakeGroup(*host_, DeviceGroupOptions(), clock_);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  DeviceGroup& group = **made;
  constexpr int64_t kCount = 1 << 18;
  auto in = Buffer::Create(group.memory(), kCount * sizeof(float));
  auto out = Buffer::Create(ops.allocator(), kCount * sizeof(float));
  ASSERT_TRUE(in.ok() && out.ok());
  const Status connected = group.Connect();
  ASSERT_TRUE(connected.ok()) << connected.ToString();
  std::printf("    %s\n", group.Description().c_str());
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), -100.0F);
  ops.CopyIn(in->data(), values.data(), in->size());
  const TensorView x(in->data(), DType::kF32, {kCount});
  const TensorView y(out->data(), DType::kF32, {kCount});
  const std::span<std::byte> x_bytes(in->data(), in->size());
  const std::span<std::byte> y_bytes(out->data(), out->size());
  const auto expect_values = [&](const Buffer& buffer) {
    std::vector<float> found(kCount);
    const Status status = ops.CopyOut(found.data(), buffer.data(), buffer.size());
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(found == values);
  };
  EXPECT_TRUE(group.AllReduce(x).ok());
  expect_values(*in);
  EXPECT_TRUE(group.Broadcast(x_bytes, 0).ok());
  expect_values(*in);
  for (const char* what : {"reduce-scatter", "all-gather", "all-to-all"}) {
    SCOPED_TRACE(what);
    ops.Fill(out->data(), 0xFF, out->size());
    const Status status = what[0] == 'r'   ? group.ReduceScatter(x, y)
                          : what[4] == 'g' ? group.AllGather(x_bytes, y_bytes)
                                           : group.AllToAll(x_bytes, y_bytes);
    ASSERT_TRUE(status.ok()) << status.ToString();
    expect_values(*out);
  }
}

// Sums of layers over a group of one, eager and in graphs.
TEST_F(GroupOfOneTest, AModelDrawsTheTokensOfTransformers) {
  const std::string family = "llama3";
  RankOptions options;
  options.model_dir = GoldenDir(family);
  options.memory.max_running = kSlots;
  options.memory.max_batched_tokens = 96;
  options.memory.max_model_len = 256;
  options.memory.kv_dtype = DType::kF32;
  RankLinks links;
  links.tp = host_.get();
  auto rank = LoadRank(options, RankPlace(), links, backend_->ops(), clock_, nullptr);
  ASSERT_TRUE(rank.ok()) << rank.status().ToString();
  const Status warm = (*rank)->WarmUp();
  ASSERT_TRUE(warm.ok()) << warm.ToString();
  RankExecutor executor(**rank);
  PlanDriver driver(executor, kSlots, options.memory.block_size, (*rank)->info().memory.num_blocks);
  const auto expected = ReadExpected(GoldenDir(family));
  std::vector<DrivenPrompt> prompts;
  for (const ExpectedPrompt& e : expected) {
    DrivenPrompt p;
    p.prompt = e.ids;
    p.sampling.temperature = 0.0F;
    p.sampling.seed = prompts.size();
    p.max_new = 6;
    prompts.push_back(std::move(p));
  }
  const auto results = driver.Run(prompts, 96, 1);
  ASSERT_EQ(results.size(), expected.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].tokens,
              std::vector<TokenId>(expected[i].greedy.begin(), expected[i].greedy.begin() + 6));
  }
}

}  // namespace
}  // namespace inferd::testing
