// What can be seen of the device backend from outside: which device a rank has and what its
// memory is for, what steps take there, and the ranges that a profiler is told of.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/emulated/range_counter.h"
#include "backends/cuda/fake_cuda.h"
#include "engine/recording_sink.h"
#include "inferd/engine/engine.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"

namespace inferd::testing {
namespace {

constexpr int32_t kPrompt = 6;
constexpr int32_t kTokens = 14;

#ifdef RANGE_COUNTER
constexpr int32_t kLayers = 2;

// Before anything is named: it is looked at once.
[[maybe_unused]] const int kInjected = setenv("NVTX_INJECTION64_PATH", RANGE_COUNTER, 1);

RangeCounts Ranges() {
  void* library = dlopen(RANGE_COUNTER, RTLD_NOW | RTLD_LOCAL);
  RangeCounts counts;
  reinterpret_cast<RangeCountsFunction>(dlsym(library, "inferd_range_counts"))(&counts);
  return counts;
}
#endif

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return 42; }
};

class ObservationTest : public ::testing::Test {
 protected:
  void Start(bool layer_ranges, bool graphs = true) {
    ResetFakeCuda();
    SetFakeDevices(2);
    BackendOptions backend;
    backend.device = 1;
    backend.layer_ranges = layer_ranges;
    backend.graphs = graphs;
    backend_ = MakeCudaBackend(backend).value();
    RankOptions rank;
    rank.model_dir = GoldenDir("llama3");
    rank.memory.max_running = 4;
    rank.memory.max_batched_tokens = 32;
    rank.memory.max_model_len = 64;
    rank.memory.block_size = 4;
    rank.memory.num_blocks = 60;
    rank.memory.kv_dtype = DType::kF32;
    executor_ = StartLocalExecutor(rank, backend_->ops(), clock_, nullptr).value();
    options_.num_blocks = 60;
    options_.block_size = 4;
    options_.max_model_len = 64;
    options_.max_running = 4;
    options_.max_batched_tokens = 32;
  }

  // One answer; the engine's numbers at its end.
  EngineStats Answer() {
    RecordingSink sink;
    const std::unique_ptr<Engine> engine =
        StartEngine(options_, *executor_, sink, clock_, entropy_, nullptr);
    RequestSpec spec;
    spec.id = 1;
    spec.prompt.assign(kPrompt, 7);
    spec.sampling.temperature = 0.0F;
    spec.stop.max_new_tokens = kTokens;
    EXPECT_TRUE(engine->Submit(std::move(spec)).ok());
    (void)sink.WaitForEnd(1);
    // The step past the last token may still be under way, and its numbers come after the
    // events of the one before.
    const auto idle = [&] {
      const EngineStats stats = engine->Stats();
      return stats.running == 0 && stats.live_requests == 0 &&
             stats.steps_prefill + stats.steps_decode + stats.steps_mixed >= kTokens;
    };
    while (!idle()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return engine->Stats();
  }

  SystemClock clock_;
  FixedEntropy entropy_;
  EngineOptions options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LocalExecutor> executor_;
};

TEST_F(ObservationTest, ARankSaysWhichDeviceItHasAndWhatItsMemoryIsFor) {
  Start(false);
  EXPECT_TRUE(backend_->HasOwnMemory());
  ASSERT_EQ(executor_->ranks().size(), 1u);
  const RankInfo& rank = executor_->ranks().front();
  EXPECT_EQ(rank.device.index, 1);
  EXPECT_EQ(rank.device.bus_id, "0000:3F:00.0");
  EXPECT_EQ(rank.device.name, "emulated");
  EXPECT_EQ(rank.device.total_bytes, int64_t{1} << 30);
  EXPECT_EQ(rank.use, UseOf(rank.memory));
  EXPECT_EQ(rank.use.total(), rank.memory.total_bytes);
  EXPECT_EQ(rank.use.weights, rank.memory.weight_bytes);  // the embedding is the head
  EXPECT_GT(rank.use.kv_cache, 0);
  EXPECT_GT(rank.use.activations, 0);
  EXPECT_GT(rank.use.other, 0);
  // The emulated driver keeps nothing for itself: what is not free is the plan, in pages.
  const int64_t taken = rank.device.total_bytes - rank.device.free_bytes;
  EXPECT_GE(taken, rank.use.total());
  EXPECT_LT(taken, rank.use.total() + 4096);
}

TEST_F(ObservationTest, StepsTakeWhatTheirKernelsTake) {
  Start(false, /*graphs=*/false);  // whose recording runs a kernel now and then
  const int64_t before = FakeCuda().kernels;
  const EngineStats stats = Answer();
  executor_.reset();  // whose thread may still be at the last step
  EXPECT_EQ(stats.device_seconds_prefill.count(), stats.steps_prefill);
  EXPECT_EQ(stats.device_seconds_decode.count(), stats.steps_decode);
  EXPECT_EQ(stats.device_seconds_mixed.count(), stats.steps_mixed);
  const double seconds = stats.device_seconds_prefill.sum() + stats.device_seconds_decode.sum();
  EXPECT_GT(stats.device_seconds_decode.sum(), 0);
  const auto kernels = static_cast<double>(FakeCuda().kernels - before);
  EXPECT_NEAR(seconds, kernels * kFakeKernelMs * 1e-3, 1e-9);
}

#ifdef RANGE_COUNTER
TEST_F(ObservationTest, AProfilerIsToldOfStepsAndOfLayersWhenAsked) {
  for (const bool layers : {false, true}) {
    Start(layers);
    // Graphs of 4, 2 and 1 rows are recorded beside the service, from the warm-up on.
    while (FakeCuda().graphs < 3 || Ranges().open > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const RangeCounts begin = Ranges();
    EXPECT_EQ(begin.open, 0);
    const EngineStats stats = Answer();
    executor_.reset();
    backend_.reset();
    const RangeCounts end = Ranges();
    const auto steps = static_cast<int64_t>(stats.steps_prefill + stats.steps_decode);
    EXPECT_EQ(end.open, 0);
    EXPECT_EQ(end.steps - begin.steps, steps);
    const int64_t ranges = steps + end.records - begin.records;
    EXPECT_EQ(end.layers - begin.layers, layers ? kLayers * ranges : 0);
    EXPECT_EQ(end.layer_sum - begin.layer_sum, layers ? ranges : 0);  // numbers 0 and 1
    EXPECT_EQ(end.deepest, layers ? 2 : 1);
  }
}
#endif

}  // namespace
}  // namespace inferd::testing
