// The host's share of a step: planning and committing, prefix lookup, and the whole
// engine over an executor that computes nothing.
#include <benchmark/benchmark.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "inferd/engine/engine.h"
#include "kv/kv_manager.h"
#include "sched/scheduler.h"

namespace inferd {
namespace {

RequestSpec MakeSpec(RequestId id, int32_t prompt_tokens, int32_t max_new) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt.resize(static_cast<size_t>(prompt_tokens));
  std::iota(spec.prompt.begin(), spec.prompt.end(), static_cast<TokenId>(id * 7919 % 50021));
  spec.sampling.seed = id;
  spec.stop.max_new_tokens = max_new;
  spec.stop.stop_tokens = {2, 3};
  return spec;
}

void Answer(const BatchPlan& plan, StepResult& result) {
  result.step = plan.step;
  result.outputs.clear();
  for (const StepEntry& e : plan.entries) {
    if (e.sample == 0) continue;
    StepOutput& output = result.outputs.emplace_back();
    output.slot = e.slot;
    output.token = 100 + e.start % 50000;
  }
}

// One Schedule and one Commit with range(0) decoding and range(1) waiting, at depth
// range(2). Whoever ends is followed by a new arrival, so both numbers stay.
void BM_ScheduleAndCommit(benchmark::State& state) {
  const auto running = static_cast<int32_t>(state.range(0));
  const auto waiting = static_cast<int32_t>(state.range(1));
  const auto depth = static_cast<size_t>(state.range(2));
  SchedulerOptions options;
  options.num_blocks = running * 40 + 1;
  options.max_running = running;
  options.max_batched_tokens = 2048;
  options.max_model_len = 8192;
  Scheduler scheduler(options, HashKey{1, 2});
  RequestId id = 1;
  constexpr int32_t kPrompt = 256, kAnswer = 256;
  for (int32_t i = 0; i < running + waiting; ++i) {
    // Staggered, so that ends and admissions spread over the steps.
    scheduler.Add(MakeSpec(id++, kPrompt, 1 + (i * 37) % kAnswer), 0);
  }
  std::deque<std::shared_ptr<const BatchPlan>> in_flight;
  StepResult result;
  uint64_t entries = 0;
  auto step = [&] {
    while (in_flight.size() < depth) {
      auto plan = scheduler.Schedule(0);
      if (plan == nullptr) break;
      in_flight.push_back(std::move(plan));
    }
    entries += in_flight.front()->entries.size();
    Answer(*in_flight.front(), result);
    if (!scheduler.Commit(result).ok()) state.SkipWithError("commit");
    in_flight.pop_front();
    scheduler.ClearOutputs();
    for (size_t n = scheduler.changes().ended.size(); n > 0; --n) {
      scheduler.Add(MakeSpec(id++, kPrompt, kAnswer), 0);
    }
    scheduler.ClearChanges();
  };
  for (int i = 0; i < 2000; ++i) step();
  entries = 0;
  for (auto _ : state) step();
  state.counters["entries_per_step"] =
      benchmark::Counter(static_cast<double>(entries) / static_cast<double>(state.iterations()));
  state.counters["waiting"] = scheduler.num_waiting();
}
BENCHMARK(BM_ScheduleAndCommit)
    ->Args({1, 0, 1})
    ->Args({64, 0, 2})
    ->Args({256, 0, 2})
    ->Args({256, 10000, 1})
    ->Args({256, 10000, 2})
    ->Unit(benchmark::kMicrosecond);

// A whole hit of range(0) tokens. range(1): whether the chain of hashes is known, as
// it is when a request that did not fit is tried again.
void BM_PrefixLookup(benchmark::State& state) {
  const auto num_tokens = static_cast<int32_t>(state.range(0));
  KvManager kv(20000, 16, true, HashKey{1, 2});
  const std::vector<TokenId> tokens = MakeSpec(1, num_tokens, 1).prompt;
  BlockTable owner;
  if (!kv.Reserve(num_tokens, owner)) state.SkipWithError("reserve");
  kv.Publish(tokens, num_tokens, {}, owner);
  BlockTable table;
  for (auto _ : state) {
    if (state.range(1) == 0) table.chain.clear();
    benchmark::DoNotOptimize(kv.MatchAndPin(tokens, {}, table));
    kv.Release(table);
  }
}
BENCHMARK(BM_PrefixLookup)
    ->Args({8192, 0})
    ->Args({8192, 1})
    ->Args({512, 0})
    ->Unit(benchmark::kMicrosecond);

class NullExecutor final : public Executor {
 public:
  void Submit(std::shared_ptr<const BatchPlan> plan) override { plans_.push_back(plan); }
  StepResult Await() override {
    StepResult result;
    Answer(*plans_.front(), result);
    plans_.pop_front();
    return result;
  }
  int max_in_flight() const override { return 2; }

 private:
  std::deque<std::shared_ptr<const BatchPlan>> plans_;
};

class CountingSink final : public OutputSink {
 public:
  void Post(std::vector<TokenEvent>&& events) override {
    uint64_t ended = 0;
    for (const TokenEvent& e : events) ended += e.finish != FinishReason::kNone ? 1 : 0;
    if (ended == 0) return;
    std::lock_guard lock(mutex_);
    ended_ += ended;
    changed_.notify_all();
  }
  void WaitFor(uint64_t ended) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ >= ended; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t ended_ = 0;
};

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return 42; }
};

// The engine with its thread: range(0) requests of 64 tokens and 128 answers at once.
void BM_EngineWithNullExecutor(benchmark::State& state) {
  const auto batch = static_cast<uint64_t>(state.range(0));
  EngineOptions options;
  options.num_blocks = 8192;
  options.max_running = 256;
  options.max_batched_tokens = 2048;
  NullExecutor executor;
  CountingSink sink;
  SystemClock clock;
  FixedEntropy entropy;
  auto engine = StartEngine(options, executor, sink, clock, entropy, nullptr);
  RequestId id = 0;
  uint64_t ended = 0;
  for (auto _ : state) {
    for (uint64_t i = 0; i < batch; ++i) {
      if (!engine->Submit(MakeSpec(++id, 64, 128)).ok()) state.SkipWithError("submit");
    }
    ended += batch;
    sink.WaitFor(ended);
  }
  const EngineStats stats = engine->Stats();
  const auto steps =
      static_cast<double>(stats.steps_prefill + stats.steps_decode + stats.steps_mixed);
  state.counters["steps_per_s"] = benchmark::Counter(steps, benchmark::Counter::kIsRate);
  state.counters["tokens_per_s"] =
      benchmark::Counter(static_cast<double>(stats.generation_tokens), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_EngineWithNullExecutor)
    ->Arg(1)
    ->Arg(64)
    ->Arg(256)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace inferd

BENCHMARK_MAIN();
