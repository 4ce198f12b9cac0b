#include "measures.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace inferd::device_bench {
namespace {

constexpr int32_t kBlock = RandomModel::kBlock;
constexpr float kEps = 1e-5F;

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

TensorView Floats(const Buffer& memory, int64_t rows, int64_t columns) {
  return {memory.data(), DType::kF32, {rows, columns}};
}

}  // namespace

// A step of sequences that all have `context` tokens, the last `rows` of which it computes.
struct Measures::Inputs {
  Inputs(int32_t sequences, int32_t context, int32_t rows)
      : blocks((context + kBlock - 1) / kBlock),
        ids(static_cast<size_t>(sequences) * rows, 1),
        starts{0},
        contexts(static_cast<size_t>(sequences), context) {
    for (int32_t s = 0; s < sequences; ++s) {
      for (int32_t i = 0; i < rows; ++i) positions.push_back(context - rows + i);
      starts.push_back(starts.back() + rows);
      samples.push_back(starts.back() - 1);
      for (int32_t b = 0; b < blocks; ++b) tables.push_back(1 + s * blocks + b);
    }
  }
  StepInputs view() const {
    return {static_cast<int32_t>(ids.size()),
            static_cast<int32_t>(contexts.size()),
            ids,
            positions,
            starts,
            contexts,
            tables,
            blocks,
            samples};
  }
  int32_t blocks;
  std::vector<TokenId> ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> starts;
  std::vector<int32_t> contexts;
  std::vector<int32_t> samples;
  std::vector<BlockId> tables;
};

int64_t Measures::Widest() const {
  return std::max<int64_t>(2 * int64_t{options_.shape.ffn}, options_.shape.qkv());
}

Measures::Seconds Measures::Time(const std::function<void()>& enqueue) const {
  constexpr int kWarmUp = 18;  // a decode step that came 16 times is recorded, then replayed
  constexpr size_t kLeast = 5;
  constexpr size_t kMost = 10000;
  for (int i = 0; i < kWarmUp; ++i) {
    enqueue();
    Require(ops_.Finish());
  }
  std::vector<double> steps;
  std::vector<double> hosts;
  const auto start = Clock::now();
  while (steps.size() < kLeast || (Since(start) < options_.seconds && steps.size() < kMost)) {
    const auto before = Clock::now();
    enqueue();
    // Where steps overlap, that is when a recorded one is launched.
    if (ops_.MaxSteps() > 1) ops_.SealStep();
    hosts.push_back(Since(before));
    Require(ops_.Finish());
    steps.push_back(Since(before));
  }
  return {Median(std::move(steps)), Median(std::move(hosts))};
}

std::vector<Buffer> Measures::Caches(int32_t blocks) const {
  const int64_t bytes = ops_.KvBytesPerBlock(model_.kv_spec()) * (1 + blocks);
  // What a step takes when it is first planned is left.
  constexpr int64_t kSlackBytes = int64_t{64} << 20;
  const Buffer slack = model_.Memory(kSlackBytes);
  std::vector<Buffer> caches;
  for (int32_t i = 0; i < options_.shape.layers; ++i) {
    auto cache = Buffer::Create(ops_.allocator(), static_cast<size_t>(bytes));
    if (!cache.ok()) return {};
    ops_.Fill(cache->data(), 0x3c, cache->size());
    caches.push_back(std::move(*cache));
  }
  return caches;
}

Buffer Measures::Scratch(int32_t tokens, int32_t sequences) {
  // No less than a daemon has by default: attention splits sequences as far as there is room.
  constexpr int32_t kStepTokens = 2048;
  const int64_t bytes =
      ops_.ScratchBytes(std::max(tokens, kStepTokens), sequences, Widest(), options_.shape.vocab);
  Buffer scratch = model_.Memory(bytes);
  ops_.SetScratch({scratch.data(), DType::kU8, {bytes}});
  return scratch;
}

void Measures::Copy() {
  const int64_t columns = int64_t{1} << 18;
  const int64_t rows = options_.shape.name == "tiny" ? 4 : 1024;  // 1 MiB each
  const Buffer from = model_.Memory(4 * rows * columns);
  const Buffer to = model_.Memory(4 * rows * columns);
  ops_.Fill(from.data(), 0x5a, from.size());
  const double s =
      Time([&] {
        ops_.CopyColumns(Floats(from, rows, columns), 0, Floats(to, rows, columns), 0, columns);
      }).step;
  std::printf("{\"what\":\"copy\",\"megabytes\":%lld,\"tb_per_s\":%.4f}\n",
              static_cast<long long>(rows),
              2.0 * 4.0 * static_cast<double>(rows * columns) / s * 1e-12);
}

void Measures::Peak() {
  const int32_t n = options_.shape.peak;
  const LinearWeight weight = model_.Matrix(options_.format, n, n);
  const int64_t scratch_bytes = ops_.ScratchBytes(n, 1, n, 1);
  const Buffer scratch = model_.Memory(scratch_bytes);
  const Buffer x = model_.Memory(int64_t{4} * n * n);
  const Buffer out = model_.Memory(int64_t{4} * n * n);
  model_.Randomize(x, int64_t{n} * n);
  ops_.SetScratch({scratch.data(), DType::kU8, {scratch_bytes}});
  const double s = Time([&] { ops_.Linear(Floats(x, n, n), weight, Floats(out, n, n)); }).step;
  std::printf("{\"what\":\"peak\",\"format\":\"%s\",\"n\":%d,\"tflops\":%.3f}\n",
              options_.format.c_str(), n, 2.0 * n * n * static_cast<double>(n) / s * 1e-12);
  ops_.SetScratch({});
}

void Measures::Op(const std::string& name, int32_t rows, int32_t context, int32_t times,
                  const std::function<void(const StepPlan&, int32_t)>& op) {
  const Inputs inputs(rows, context, 1);
  const auto plan = ops_.MakeStepPlan(rows, rows, inputs.blocks);
  const double s = Time([&] {
                     ops_.PlanStep(inputs.view(), plan.get());
                     for (int32_t i = 0; i < times; ++i) op(*plan, i % options_.shape.layers);
                   }).step;
  std::printf(
      "{\"what\":\"op\",\"op\":\"%s\",\"format\":\"%s\",\"rows\":%d,\"context\":%d,\"us\":%.3f}\n",
      name.c_str(), options_.format.c_str(), rows, context, s * 1e6 / times);
  std::fflush(stdout);
}

void Measures::Products() {
  const Shape& s = options_.shape;
  const bool tiny = s.name == "tiny";
  const std::vector<int32_t> all =
      tiny ? std::vector<int32_t>{1, 16}
           : std::vector<int32_t>{1, 8, 32, 64, 65, 128, 256, 512, 2048};
  for (const int32_t rows : all) {
    const Buffer scratch = Scratch(rows, rows);
    const Buffer x = model_.Memory(4 * int64_t{rows} * std::max(s.ffn, s.hidden));
    const Buffer out = model_.Memory(4 * int64_t{rows} * std::max<int64_t>(Widest(), s.vocab));
    model_.Randomize(x, int64_t{rows} * std::max(s.ffn, s.hidden));
    // One matrix of each layer in turn, which together are larger than any cache.
    const auto product = [&](const char* name, int32_t times, auto weight_of) {
      Op(name, rows, 1, times, [&](const StepPlan&, int32_t layer) {
        const LinearWeight& weight = weight_of(layer);
        ops_.Linear(Floats(x, rows, weight.in_features), weight,
                    Floats(out, rows, weight.out_features));
      });
    };
    const auto& layers = model_.layers();
    product("qkv", 2 * s.layers, [&](int32_t i) -> const LinearWeight& { return layers[i].qkv; });
    product("output", 2 * s.layers,
            [&](int32_t i) -> const LinearWeight& { return layers[i].output; });
    product("gate_up", s.layers,
            [&](int32_t i) -> const LinearWeight& { return layers[i].gate_up; });
    product("down", s.layers, [&](int32_t i) -> const LinearWeight& { return layers[i].down; });
    product("head", 2, [&](int32_t) -> const LinearWeight& { return model_.head(); });
    ops_.SetScratch({});
  }
}

void Measures::OtherOps() {
  const Shape& s = options_.shape;
  for (const int32_t rows : options_.batches) {
    const Buffer scratch = Scratch(rows, rows);
    const Buffer wide = model_.Memory(4 * int64_t{rows} * Widest());
    const Buffer narrow = model_.Memory(4 * int64_t{rows} * std::max(s.ffn, s.hidden));
    const Buffer more = model_.Memory(4 * int64_t{rows} * s.hidden);
    model_.Randomize(wide, int64_t{rows} * Widest());
    model_.Randomize(narrow, int64_t{rows} * std::max(s.ffn, s.hidden));
    Op("norm", rows, 1, 4 * s.layers, [&](const StepPlan&, int32_t i) {
      ops_.AddRmsNorm(Floats(narrow, rows, s.hidden), Floats(wide, rows, s.hidden),
                      model_.layers()[i].norm, kEps, Floats(more, rows, s.hidden));
    });
    Op("silu", rows, 1, 4 * s.layers, [&](const StepPlan&, int32_t) {
      ops_.SiluMul(Floats(wide, rows, 2 * int64_t{s.ffn}), Floats(narrow, rows, s.ffn));
    });
    for (const int32_t context : options_.contexts) {
      const std::vector<Buffer> caches = Caches(rows * ((context + kBlock - 1) / kBlock));
      if (caches.empty()) continue;
      const int32_t blocks = 1 + rows * ((context + kBlock - 1) / kBlock);
      const auto kv = [&](int32_t i) {
        return KvLayerView{caches[i].data(), blocks, model_.kv_spec()};
      };
      const TensorView qkv = Floats(wide, rows, s.qkv());
      if (context == options_.contexts.front()) {
        Op("rope_kv", rows, context, 4 * s.layers, [&](const StepPlan& plan, int32_t i) {
          ops_.RopeAppendKv(plan, model_.rope(), qkv, s.heads, kv(i));
        });
      }
      Op("attention", rows, context, s.layers, [&](const StepPlan& plan, int32_t i) {
        ops_.Attention(plan, qkv, s.heads, kv(i), 1.0F / std::sqrt(static_cast<float>(s.head_dim)),
                       Floats(narrow, rows, int64_t{s.heads} * s.head_dim));
      });
    }
    ops_.SetScratch({});
  }
}

void Measures::Step(const char* what, int32_t sequences, int32_t context, int32_t rows) {
  const Shape& s = options_.shape;
  const Inputs inputs(sequences, context, rows);
  const int64_t t = int64_t{sequences} * rows;
  const auto tokens = static_cast<int32_t>(t);
  const Buffer scratch = Scratch(tokens, sequences);
  const Buffer x = model_.Memory(4 * t * s.hidden);
  const Buffer normed = model_.Memory(4 * t * s.hidden);
  const Buffer wide = model_.Memory(4 * t * Widest());
  const Buffer narrow = model_.Memory(4 * t * std::max(s.ffn, s.hidden));
  const Buffer logits = model_.Memory(int64_t{4} * sequences * s.vocab);
  const auto plan = ops_.MakeStepPlan(tokens, sequences, inputs.blocks);
  model_.Randomize(x, t * s.hidden);
  // The cache comes last: where it takes too much, nothing else is short of memory.
  const std::vector<Buffer> caches = Caches(sequences * inputs.blocks);
  if (caches.empty()) {
    ops_.SetScratch({});
    std::printf(
        "{\"what\":\"%s\",\"format\":\"%s\",\"sequences\":%d,\"context\":%d,"
        "\"skipped\":\"no memory for its cache\"}\n",
        what, options_.format.c_str(), sequences, context);
    return;
  }

  const TensorView rx = Floats(x, t, s.hidden);
  const TensorView rn = Floats(normed, t, s.hidden);
  const TensorView qkv = Floats(wide, t, s.qkv());
  const TensorView mixed = Floats(narrow, t, int64_t{s.heads} * s.head_dim);
  const TensorView gate_up = Floats(wide, t, 2 * int64_t{s.ffn});
  const TensorView activated = Floats(narrow, t, s.ffn);
  const TensorView sum = Floats(wide, t, s.hidden);
  const TensorView last = Floats(narrow, sequences, s.hidden);
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
  const Seconds seconds = Time([&] {
    ops_.PlanStep(inputs.view(), plan.get());
    ops_.RmsNorm(rx, model_.layers()[0].norm, kEps, rn);
    for (int32_t i = 0; i < s.layers; ++i) {
      const Layer& layer = model_.layers()[i];
      const KvLayerView kv = {caches[i].data(), 1 + sequences * inputs.blocks, model_.kv_spec()};
      ops_.Linear(rn, layer.qkv, qkv);
      ops_.RopeAppendKv(*plan, model_.rope(), qkv, s.heads, kv);
      ops_.Attention(*plan, qkv, s.heads, kv, scale, mixed);
      ops_.Linear(mixed, layer.output, sum);
      ops_.AddRmsNorm(rx, sum, layer.norm, kEps, rn);
      ops_.Linear(rn, layer.gate_up, gate_up);
      ops_.SiluMul(gate_up, activated);
      ops_.Linear(activated, layer.down, sum);
      ops_.AddRmsNorm(rx, sum, layer.norm, kEps, rn);
    }
    ops_.GatherSampleRows(*plan, rn, last);
    ops_.Linear(last, model_.head(), Floats(logits, sequences, s.vocab));
  });
  std::printf(
      "{\"what\":\"%s\",\"format\":\"%s\",\"sequences\":%d,\"context\":%d,\"rows\":%d,"
      "\"ms\":%.4f,\"host_ms\":%.4f,\"tokens_per_s\":%.1f}\n",
      what, options_.format.c_str(), sequences, context, tokens, seconds.step * 1e3,
      seconds.host * 1e3, tokens / seconds.step);
  std::fflush(stdout);
  ops_.SetScratch({});
}

void Measures::Sampling() {
  const Shape& s = options_.shape;
  for (const int32_t rows : {1, 256}) {
    const Inputs inputs(rows, 1, 1);
    const auto plan = ops_.MakeStepPlan(rows, rows, 1);
    const Buffer scratch = Scratch(rows, rows);
    const Buffer logits = model_.Memory(int64_t{4} * rows * s.vocab);
    model_.Randomize(logits, int64_t{rows} * s.vocab);
    std::vector<SampleRow> greedy(static_cast<size_t>(rows));
    for (SampleRow& row : greedy) row.temperature = 0;
    std::vector<SampleRow> drawn(static_cast<size_t>(rows));
    for (SampleRow& row : drawn) {
      row.top_k = 40;
      row.top_p = 0.9F;
    }
    std::vector<SampleOutput> out(static_cast<size_t>(rows));
    // The whole way of the tokens to the host; without sampling it is "none".
    const auto measure = [&](const char* how, const std::vector<SampleRow>* specs) {
      const double seconds = Time([&] {
                               ops_.PlanStep(inputs.view(), plan.get());
                               if (specs != nullptr) {
                                 ops_.Sample(Floats(logits, rows, s.vocab), *specs, out);
                               }
                             }).step;
      std::printf("{\"what\":\"sample\",\"how\":\"%s\",\"rows\":%d,\"us\":%.2f}\n", how, rows,
                  seconds * 1e6);
      std::fflush(stdout);
    };
    measure("none", nullptr);
    measure("greedy", &greedy);
    measure("top_k_top_p", &drawn);
    ops_.SetScratch({});
  }
}

}  // namespace inferd::device_bench
