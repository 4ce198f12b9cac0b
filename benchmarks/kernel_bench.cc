// Speed of the ops, case by case: the conformance cases and the shapes of whole
// models. Each figure stands beside the ceilings measured at the start of the same
// run: read bandwidth from DRAM, and the peak of multiply-adds or, with integer
// weights, of 8-bit dot products, or, with rows rounded to bf16 ("bf16_rows"), of
// bf16 products; all threads.
//
//   kernel_bench --backend=cpu --threads=2 --benchmark_filter=TinyLlama
//
// On a machine with busy neighbours wall time says more about them than about us:
// --clock=cpu times one thread by the processor time it got, ceilings included.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <string>

#include "backends/cpu/thread_pool.h"
#include "cpu/common.h"
#include "cpu/linear_bf16.h"
#include "cpu/linear_int.h"
#include "inferd/backends/backend.h"
#include "ops/cases.h"
#ifdef INFERD_PEER_OPENBLAS
#include <cblas.h>
extern "C" void openblas_set_num_threads(int);
#endif

namespace inferd {
namespace {

using testing::OpCase;
using testing::PreparedCase;

struct Ceilings {
  double read_bytes_per_s = 0;
  double flops_per_s = 0;       // f32 multiply-adds
  double dot_flops_per_s = 0;   // 8-bit dot products
  double bf16_flops_per_s = 0;  // of the unit that multiplies rounded rows
};

struct Settings {
  int threads = 1;
  bool cpu_clock = false;
};

double BurnBf16(kernels::Bf16Unit unit, int64_t iterations, float* sink) {
  if (unit == kernels::Bf16Unit::kTiles) return kernels::BurnTileProducts(iterations / 16, sink);
  if (unit == kernels::Bf16Unit::kPairs) return kernels::BurnPairProducts(iterations, sink);
  return kernels::BurnMultiplyAdds(iterations, sink);
}

double Now(bool cpu_clock) {
  timespec now{};
  clock_gettime(cpu_clock ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Best of several: a ceiling is what the machine can do when nobody disturbs it.
Ceilings MeasureCeilings(const Settings& settings) {
  const SystemClock clock;
  ThreadPool pool({settings.threads, {}}, clock);
  const auto seconds = [&](const auto& work) {
    const double start = Now(settings.cpu_clock);
    work();
    return Now(settings.cpu_clock) - start;
  };
  Ceilings ceilings;
  constexpr int64_t kFloats = int64_t{128} << 20;  // 512 MiB, far beyond the caches
  HostAllocator allocator;
  auto buffer = Buffer::Create(allocator, kFloats * sizeof(float));
  if (!buffer.ok()) std::abort();
  auto* data = reinterpret_cast<float*>(buffer->data());
  std::fill_n(data, kFloats, 1.0F);
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<float> sums(kFloats / kPiece);
  std::vector<int32_t> dot_sums(64);
  const kernels::DotUnit unit = kernels::BestDotUnit();
  const kernels::Bf16Unit bf16_unit = kernels::BestBf16Unit(/*tiles=*/true);
  for (int round = 0; round < 5; ++round) {
    const double read = seconds([&] {
      pool.ParallelFor(kFloats / kPiece, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          sums[i] = kernels::ReadStreams(data + i * kPiece, kPiece);
        }
      });
    });
    ceilings.read_bytes_per_s =
        std::max(ceilings.read_bytes_per_s, static_cast<double>(kFloats) * 4 / read);
    const auto burn = [&](const auto& work) {
      std::vector<double> flops(64);
      const double taken = seconds([&] {
        pool.ParallelFor(64, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) flops[i] = work(i);
        });
      });
      double total = 0;
      for (const double f : flops) total += f;
      return total / taken;
    };
    const double flops_per_s =
        burn([&](int64_t i) { return kernels::BurnMultiplyAdds(400000, &sums[i]); });
    const double dot_flops_per_s =
        burn([&](int64_t i) { return kernels::BurnDotProducts(unit, 400000, &dot_sums[i]); });
    const double bf16_flops_per_s =
        burn([&](int64_t i) { return BurnBf16(bf16_unit, 400000, &sums[i]); });
    ceilings.bf16_flops_per_s = std::max(ceilings.bf16_flops_per_s, bf16_flops_per_s);
    ceilings.flops_per_s = std::max(ceilings.flops_per_s, flops_per_s);
    ceilings.dot_flops_per_s = std::max(ceilings.dot_flops_per_s, dot_flops_per_s);
  }
  benchmark::DoNotOptimize(sums.data());
  benchmark::DoNotOptimize(dot_sums.data());
  return ceilings;
}

void Report(benchmark::State& state, double bytes, double flops, double read_bytes_per_s,
            double flops_per_s) {
  using benchmark::Counter;
  const auto rate = [](double amount) {
    return Counter(amount, Counter::kIsIterationInvariantRate);
  };
  state.counters["bytes/s"] = rate(bytes);
  state.counters["flop/s"] = rate(flops);
  state.counters["%bandwidth"] = rate(100 * bytes / read_bytes_per_s);
  state.counters["%peak"] = rate(100 * flops / flops_per_s);
}

// Walks `copies` of the case in turn, so that weights come from DRAM as they do in
// a model, not from the last iteration's cache.
void RunCase(benchmark::State& state, const OpCase& c, int copies, Ops& ops,
             double read_bytes_per_s, double flops_per_s) {
  std::vector<std::unique_ptr<PreparedCase>> prepared;
  for (int i = 0; i < copies; ++i) {
    prepared.push_back(c.prepare(ops));
    prepared.back()->Reset();
  }
  // Scratch belongs to the ops, not to a case: the last one's bounds are the same.
  size_t next = 0;
  for (auto _ : state) {
    prepared[next]->Run();
    next = (next + 1) % prepared.size();
  }
  Report(state, c.bytes, c.flops, read_bytes_per_s, flops_per_s);
}

void Register(const std::string& name, const Settings& settings,
              std::function<void(benchmark::State&)> run) {
  auto* registered = benchmark::RegisterBenchmark(
      name.c_str(), [run = std::move(run)](benchmark::State& state) { run(state); });
  if (!settings.cpu_clock) registered->UseRealTime();
}

void RegisterCase(const std::string& prefix, const OpCase& c, int copies, Ops& ops,
                  const Settings& settings, const Ceilings& ceilings) {
  Register(prefix + c.name, settings, [&ops, &ceilings, c, copies](benchmark::State& state) {
    RunCase(state, c, copies, ops, ceilings.read_bytes_per_s,
            c.integer ? ceilings.dot_flops_per_s : ceilings.flops_per_s);
  });
}

struct Model {
  const char* name;
  int64_t hidden;
  int64_t ffn;
  int32_t q_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int64_t vocab;
};

constexpr Model kModels[] = {
    {"TinyLlama1.1B", 2048, 5632, 32, 4, 64, 32000},
    {"Llama15M", 288, 768, 6, 6, 48, 32000},
    {"Demo", 256, 704, 8, 4, 32, 4096},
};

struct NamedShape {
  const char* name;
  testing::LinearShape shape;
};

std::vector<NamedShape> LinearsOf(const Model& m, int64_t rows, WeightFormat format) {
  const int64_t qkv = int64_t{m.q_heads + 2 * m.kv_heads} * m.head_dim;
  const int64_t heads = int64_t{m.q_heads} * m.head_dim;
  std::vector<NamedShape> linears = {{"qkv", {rows, m.hidden, qkv, format}},
                                     {"o", {rows, heads, m.hidden, format}},
                                     {"gate_up", {rows, m.hidden, 2 * m.ffn, format}},
                                     {"down", {rows, m.ffn, m.hidden, format}},
                                     {"head", {rows, m.hidden, m.vocab, format}}};
  if (format == WeightFormat::kInt4) {
    for (auto& [name, shape] : linears) shape.group_size = shape.in % 128 == 0 ? 128 : 32;
  }
  return linears;
}

#ifdef INFERD_PEER_OPENBLAS
// The same product in f32 by OpenBLAS.
void RegisterPeer(const std::string& name, const testing::LinearShape& s, const Settings& settings,
                  const Ceilings& ceilings) {
  Register("openblas_f32/" + name, settings, [=, &ceilings](benchmark::State& state) {
    openblas_set_num_threads(settings.threads);
    const auto x = testing::Normal(1, s.rows * s.in);
    const auto w = testing::Normal(2, s.in * s.out);
    std::vector<float> out(static_cast<size_t>(s.rows * s.out));
    for (auto _ : state) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(s.rows),
                  static_cast<int>(s.out), static_cast<int>(s.in), 1.0F, x.data(),
                  static_cast<int>(s.in), w.data(), static_cast<int>(s.in), 0.0F, out.data(),
                  static_cast<int>(s.out));
      benchmark::DoNotOptimize(out.data());
    }
    Report(state, static_cast<double>(4 * (s.in * s.out + s.rows * (s.in + s.out))),
           2.0 * static_cast<double>(s.rows * s.in * s.out), ceilings.read_bytes_per_s,
           ceilings.flops_per_s);
  });
}
#endif

// Decode of 1, 8 and 32 sequences over contexts that lie in DRAM, as those of other
// layers lie between two calls, and prefill on an empty and on a filled cache.
void RegisterAttention(const std::string& prefix, testing::AttentionShape shape, Ops& ops,
                       const Settings& settings, const Ceilings& ceilings) {
  using Sequences = std::vector<testing::SequenceShape>;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    shape.dtype = dtype;
    const auto add = [&](Sequences sequences, int copies) {
      shape.sequences = std::move(sequences);
      RegisterCase(prefix, testing::AttentionCase(shape), copies, ops, settings, ceilings);
    };
    for (const int32_t context : {512, 2048, 8192}) {
      for (const size_t count : {1, 8, 32}) {
        if (context * count > 65536) continue;  // gigabytes
        const int64_t bytes = int64_t{2} * context * static_cast<int64_t>(count) * shape.kv_heads *
                              shape.head_dim * DTypeSize(dtype);
        add(Sequences(count, {context, 1}), static_cast<int>(1 + (int64_t{48} << 20) / bytes));
      }
    }
    add({{8192, 1}, {256, 1}, {256, 1}, {256, 1}}, 1);
    add({{128, 128}}, 1);
    add({{512, 512}}, 1);
    add({{2560, 512}}, 1);
  }
}

// `rounding`: ops of the same backend that round rows to bf16.
void RegisterModel(const Model& m, Ops& ops, Ops& rounding, const Settings& settings,
                   const Ceilings& ceilings) {
  const std::string prefix = std::string(m.name) + "/";
  for (const int64_t rows : {1, 2, 4, 8, 16, 32, 128, 512}) {
    for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kInt8, WeightFormat::kInt4,
                                      WeightFormat::kFp8, WeightFormat::kFp8Weights}) {
      for (const NamedShape& linear : LinearsOf(m, rows, format)) {
        const testing::LinearShape& s = linear.shape;
        const OpCase c = LinearCase(s);
        // Only a model larger than the caches reads its weights from DRAM.
        const int copies = m.hidden < 1024 || rows > 32 ? 1 : static_cast<int>(1 + 96e6 / c.bytes);
        RegisterCase(prefix + linear.name + "/", c, copies, ops, settings, ceilings);
        if (format == WeightFormat::kBF16 || IsFp8(format)) {
          Register(prefix + linear.name + "/bf16_rows/" + c.name, settings,
                   [&rounding, &ceilings, c, copies](benchmark::State& state) {
                     RunCase(state, c, copies, rounding, ceilings.read_bytes_per_s,
                             ceilings.bf16_flops_per_s);
                   });
        }
#ifdef INFERD_PEER_OPENBLAS
        if (rows >= 16 && format == WeightFormat::kBF16) {
          RegisterPeer(prefix + linear.name + "/" + c.name, s, settings, ceilings);
        }
#endif
      }
    }
  }
  RegisterAttention(prefix, {m.q_heads, m.kv_heads, m.head_dim, 16, DType::kF32, {}}, ops, settings,
                    ceilings);
  for (const int64_t rows : {1, 16, 512}) {
    RegisterCase(prefix, testing::AddRmsNormCase(rows, m.hidden), 1, ops, settings, ceilings);
    RegisterCase(prefix, testing::SiluMulCase(rows, m.ffn), 1, ops, settings, ceilings);
  }
}

// One row of peaked logits, as a trained model gives them.
void RegisterSample(const char* name, int64_t vocab, const SampleRow& row, Ops& ops,
                    const Settings& settings) {
  Register(name, settings, [=, &ops](benchmark::State& state) {
    const auto logits = testing::Normal(3, vocab, 3.0F);
    PreparedCase memory(ops);
    memory.UseScratch(1, 1, 1, vocab);
    auto copy = logits;
    std::vector<SampleRow> rows = {row};
    std::vector<SampleOutput> out(1);
    for (auto _ : state) {
      ++rows[0].position;
      ops.Sample({copy.data(), DType::kF32, {1, vocab}}, rows, out);
      benchmark::DoNotOptimize(out[0].token);
    }
    state.counters["bytes/s"] = benchmark::Counter(static_cast<double>(vocab * 4),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  });
}

std::string Flag(int argc, char** argv, const std::string& name, const std::string& otherwise) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(name + "=", 0) == 0) return argument.substr(name.size() + 1);
  }
  return otherwise;
}

int Main(int argc, char** argv) {
  const std::string name = Flag(argc, argv, "--backend", "cpu");
  Settings settings;
  settings.cpu_clock = Flag(argc, argv, "--clock", "wall") == "cpu";
  settings.threads = std::atoi(Flag(argc, argv, "--threads", "0").c_str());
  if (settings.threads <= 0) {
    settings.threads = static_cast<int>(std::thread::hardware_concurrency());
  }
  if (settings.cpu_clock) settings.threads = 1;
  BackendOptions options;
  options.threads = settings.threads;
  options.activations = Activations::kF32;
  auto backend = CreateBackend(name, options);
  options.activations = Activations::kBF16;
  auto rounding = CreateBackend(name, options);
  if (!backend.ok() || !rounding.ok()) {
    std::cerr << backend.status().ToString() << "\n";
    return 1;
  }
  Ops& ops = (*backend)->ops();
  const Ceilings ceilings = MeasureCeilings(settings);
  std::cout << (*backend)->Description() << "; ceilings: read " << ceilings.read_bytes_per_s / 1e9
            << " GB/s, multiply-add " << ceilings.flops_per_s / 1e12 << " TFLOP/s, "
            << kernels::DotUnitName(kernels::BestDotUnit()) << " dot product "
            << ceilings.dot_flops_per_s / 1e12 << " TOP/s, bf16 by "
            << kernels::Bf16UnitName(kernels::BestBf16Unit(/*tiles=*/true)) << " "
            << ceilings.bf16_flops_per_s / 1e12 << " TFLOP/s\n";
  for (const Model& model : kModels) {
    RegisterModel(model, ops, (*rounding)->ops(), settings, ceilings);
  }
  RegisterAttention("Llama8B/", {32, 8, 128, 16, DType::kF32, {}}, ops, settings, ceilings);
  SampleRow row;
  row.temperature = 0;
  RegisterSample("Sample/greedy", 32000, row, ops, settings);
  row.temperature = 0.8F;
  RegisterSample("Sample/unfiltered", 32000, row, ops, settings);
  row.top_p = 0.95F;
  RegisterSample("Sample/top_p", 32000, row, ops, settings);
  row.top_k = 40;
  RegisterSample("Sample/top_k_top_p", 32000, row, ops, settings);
  for (const OpCase& c : testing::AllCases(16))
    RegisterCase("case/", c, 1, ops, settings, ceilings);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) { return inferd::Main(argc, argv); }
