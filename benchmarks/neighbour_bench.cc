// Decode of one stream while another process spins on one of our cores. Steps have
// the ops and shapes of TinyLlama 1.1B in BF16; one thread and all threads, with and
// without the neighbour, take turns in short rounds, and every round's figures are
// divided by that round's one thread without neighbour, so that what else goes on in
// the machine cancels out.
//
//   neighbour_bench --threads=2 --neighbour=1 --rounds=9 --ms=400
//
// --neighbour: the core it is pinned to, or -1 to let the kernel place it.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "inferd/backends/backend.h"
#include "ops/cases.h"

namespace inferd {
namespace {

constexpr int64_t kHidden = 2048;
constexpr int64_t kFfn = 5632;
constexpr int64_t kQkv = 2560;
constexpr int kLayers = 22;
constexpr int kDistinctLayers = 3;  // 260 MB of weights: far more than caches hold

// A process that computes all the time, while it is not stopped.
class Neighbour {
 public:
  explicit Neighbour(int core) {
    pid_ = fork();
    if (pid_ < 0) {  // as an id, -1 would stand for every process there is
      std::perror("neighbour_bench: fork");
      std::exit(1);
    }
    if (pid_ > 0) {
      Pause();
      return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (core >= 0) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(core, &set);
      if (sched_setaffinity(0, sizeof(set), &set) != 0) _exit(1);
    }
    std::atomic<uint64_t> count{0};
    for (;;) count.fetch_add(1, std::memory_order_relaxed);
  }
  ~Neighbour() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  void Pause() const { kill(pid_, SIGSTOP); }
  void Resume() const { kill(pid_, SIGCONT); }

 private:
  pid_t pid_ = 0;
};

struct Layer {
  LinearWeight qkv;
  LinearWeight o;
  LinearWeight gate_up;
  LinearWeight down;
};

LinearWeight MakeWeight(Ops& ops, int64_t in, int64_t out) {
  // 1.0 and -0.5 in turn: the values do not matter here.
  std::vector<uint16_t> data(static_cast<size_t>(in * out));
  for (size_t i = 0; i < data.size(); ++i) data[i] = i % 2 == 0 ? 0x3f80 : 0xbf00;
  RawLinear raw;
  raw.format = WeightFormat::kBF16;
  raw.data = {data.data(), DType::kBF16, {out, in}};
  auto weight = ops.Pack({&raw, 1}, {});
  if (!weight.ok()) {
    std::cerr << weight.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(*weight);
}

// One thread pool's view of the model: weights are shared.
class Decoder {
 public:
  Decoder(Backend& backend, const std::vector<Layer>& layers)
      : ops_(backend.ops()), layers_(layers), x_(kHidden), qkv_(kQkv), ffn_(2 * kFfn) {
    attention_ = testing::AttentionCase({32, 4, 64, 16, DType::kBF16, {{512, 1}}}).prepare(ops_);
    attention_->Reset();
    norm_ = testing::AddRmsNormCase(1, kHidden).prepare(ops_);
    norm_->Reset();
    silu_ = testing::SiluMulCase(1, kFfn).prepare(ops_);
    silu_->Reset();
  }

  // 8 ops per layer.
  void Step() {
    for (int i = 0; i < kLayers; ++i) {
      const Layer& layer = layers_[static_cast<size_t>(i) % layers_.size()];
      norm_->Run();
      ops_.Linear(View(x_, kHidden), layer.qkv, View(qkv_, kQkv));
      attention_->Run();
      ops_.Linear(View(x_, kHidden), layer.o, View(qkv_, kHidden));
      norm_->Run();
      ops_.Linear(View(x_, kHidden), layer.gate_up, View(ffn_, 2 * kFfn));
      silu_->Run();
      ops_.Linear(View(ffn_, kFfn), layer.down, View(qkv_, kHidden));
    }
  }

  // Steps per second over about `ms` milliseconds.
  double Measure(int ms) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    int steps = 0;
    double seconds = 0;
    do {
      Step();
      ++steps;
      // What a daemon does between steps.
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
    } while (seconds * 1000 < ms);
    return steps / seconds;
  }

 private:
  static TensorView View(std::vector<float>& data, int64_t n) {
    return {data.data(), DType::kF32, {1, n}};
  }

  Ops& ops_;
  const std::vector<Layer>& layers_;
  std::vector<float> x_;
  std::vector<float> qkv_;
  std::vector<float> ffn_;
  std::unique_ptr<testing::PreparedCase> attention_;
  std::unique_ptr<testing::PreparedCase> norm_;
  std::unique_ptr<testing::PreparedCase> silu_;
};

int Flag(int argc, char** argv, const std::string& name, int otherwise) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(name + "=", 0) == 0) return std::atoi(argument.c_str() + name.size() + 1);
  }
  return otherwise;
}

std::unique_ptr<Backend> MakeBackend(int threads) {
  BackendOptions options;
  options.threads = threads;
  auto backend = CreateBackend("cpu", options);
  if (!backend.ok()) {
    std::cerr << backend.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(*backend);
}

void PrintRow(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
  };
  std::printf("%-28s %7.3f   (%.3f .. %.3f)\n", name, at(0.5), at(0.1), at(0.9));
}

int Main(int argc, char** argv) {
  const int threads = Flag(argc, argv, "--threads", 2);
  const int rounds = std::max(1, Flag(argc, argv, "--rounds", 9));
  const int ms = Flag(argc, argv, "--ms", 400);
  // Before there are threads.
  const Neighbour neighbour(Flag(argc, argv, "--neighbour", 1));
  const auto alone = MakeBackend(1);
  const auto together = MakeBackend(threads);
  std::vector<Layer> layers;
  for (int i = 0; i < kDistinctLayers; ++i) {
    Ops& ops = together->ops();
    layers.push_back({MakeWeight(ops, kHidden, kQkv), MakeWeight(ops, kHidden, kHidden),
                      MakeWeight(ops, kHidden, 2 * kFfn), MakeWeight(ops, kFfn, kHidden)});
  }
  Decoder one(*alone, layers);
  Decoder all(*together, layers);
  one.Measure(ms);
  all.Measure(ms);
  std::vector<double> base;
  std::array<std::vector<double>, 3> ratios;
  for (int round = 0; round < rounds; ++round) {
    const double quiet_one = one.Measure(ms);
    const double quiet_all = all.Measure(ms);
    neighbour.Resume();
    const double busy_all = all.Measure(ms);
    const double busy_one = one.Measure(ms);
    neighbour.Pause();
    base.push_back(quiet_one);
    ratios[0].push_back(quiet_all / quiet_one);
    ratios[1].push_back(busy_one / quiet_one);
    ratios[2].push_back(busy_all / quiet_one);
  }
  std::printf("%s; %d ops a step; median (10th .. 90th percentile) of %d rounds of %d ms\n",
              together->Description().c_str(), kLayers * 8, rounds, ms);
  PrintRow("one thread, steps/s", base);
  std::printf("relative to it:\n");
  PrintRow("all threads", ratios[0]);
  PrintRow("one thread, neighbour", ratios[1]);
  PrintRow("all threads, neighbour", ratios[2]);
  return 0;
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) { return inferd::Main(argc, argv); }
