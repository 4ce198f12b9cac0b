// Steps of a transformer with weights drawn at random, through a backend's ops alone:
// no checkpoint, no scheduler, no sampling. What a device needs per step, beside what
// it copies per second.
//
//   device_bench [--backend NAME] [--shape llama3-8b | tiny] [--format bf16 | int8 | int4]
//                [--seconds S]
//
// One line of JSON a measurement. Weights are random, never zeros: tensor cores run
// faster on zeros. Every layer has memory of its own.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "inferd/backends/backend.h"

namespace inferd {
namespace {

struct Shape {
  std::string name;
  int32_t layers;
  int32_t hidden;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t ffn;
  int32_t vocab;
  int64_t qkv() const { return int64_t{heads + 2 * kv_heads} * head_dim; }
};
const Shape kShapes[] = {{"llama3-8b", 32, 4096, 32, 8, 128, 14336, 128256},
                         {"tiny", 2, 128, 4, 2, 32, 352, 512}};

struct Arguments {
  std::string backend = "auto";
  std::string shape = "llama3-8b";
  std::string format = "bf16";
  double seconds = 2.0;
};

struct Layer {
  VectorWeight norm;
  LinearWeight qkv;
  LinearWeight output;
  LinearWeight gate_up;
  LinearWeight down;
};

// A value of a StatusOr, or the end of the program.
template <class T>
T Take(StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << "device_bench: " << value.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(*value);
}
void Require(const Status& status) {
  if (status.ok()) return;
  std::cerr << "device_bench: " << status.ToString() << "\n";
  std::exit(1);
}

class Bench {
 public:
  Bench(Backend& backend, const Shape& shape, Arguments arguments)
      : ops_(backend.ops()), shape_(shape), arguments_(std::move(arguments)) {}

  void Load() {
    for (int32_t i = 0; i < shape_.layers; ++i) {
      Layer layer;
      layer.norm = Vector(shape_.hidden);
      layer.qkv = Matrix(shape_.qkv(), shape_.hidden);
      layer.output = Matrix(shape_.hidden, int64_t{shape_.heads} * shape_.head_dim);
      layer.gate_up = Matrix(2 * int64_t{shape_.ffn}, shape_.hidden);
      layer.down = Matrix(shape_.hidden, shape_.ffn);
      layers_.push_back(std::move(layer));
    }
    format_ = "bf16";  // of the head, also where the layers are integers
    head_ = Matrix(shape_.vocab, shape_.hidden);
    const int64_t half = shape_.head_dim / 2;
    rope_.max_positions = kMaxContext;
    rope_.rotary_dim = shape_.head_dim;
    const std::vector<float> angles(static_cast<size_t>(kMaxContext * half), 0.7F);
    rope_.cos = Take(ops_.Upload(angles));
    rope_.sin = Take(ops_.Upload(angles));
    kv_spec_ = {shape_.kv_heads, shape_.head_dim, kBlock, DType::kBF16};
  }

  void SetFormat(const std::string& format) { format_ = format; }

  // `sequences` of `context` tokens, the last `rows` of which the step computes.
  void Measure(const char* what, int32_t sequences, int32_t context, int32_t rows) {
    const int32_t tokens = sequences * rows;
    const int32_t blocks = (context + kBlock - 1) / kBlock;
    std::vector<TokenId> ids(static_cast<size_t>(tokens), 1);
    std::vector<int32_t> positions;
    std::vector<int32_t> starts = {0};
    std::vector<int32_t> contexts(static_cast<size_t>(sequences), context);
    std::vector<int32_t> samples;
    std::vector<BlockId> tables;
    for (int32_t s = 0; s < sequences; ++s) {
      for (int32_t i = 0; i < rows; ++i) positions.push_back(context - rows + i);
      starts.push_back(starts.back() + rows);
      samples.push_back(starts.back() - 1);
      for (int32_t b = 0; b < blocks; ++b) tables.push_back(1 + s * blocks + b);
    }
    StepInputs inputs{tokens, sequences, ids, positions, starts, contexts, tables, blocks, samples};

    const int64_t kv_bytes = ops_.KvBytesPerBlock(kv_spec_) * (1 + sequences * blocks);
    std::vector<Buffer> caches;
    std::vector<KvLayerView> kv;
    for (int32_t i = 0; i < shape_.layers; ++i) {
      auto cache = Buffer::Create(ops_.allocator(), static_cast<size_t>(kv_bytes));
      if (!cache.ok()) return Skip(what, sequences, context, "no memory for its cache");
      ops_.Fill(cache->data(), 0x3c, cache->size());
      kv.push_back({cache->data(), 1 + sequences * blocks, kv_spec_});
      caches.push_back(std::move(*cache));
    }
    const int64_t widest = std::max<int64_t>(2 * shape_.ffn, shape_.qkv());
    const int64_t scratch_bytes = ops_.ScratchBytes(tokens, sequences, widest, shape_.vocab);
    const Buffer scratch = Memory(scratch_bytes);
    ops_.SetScratch({scratch.data(), DType::kU8, {scratch_bytes}});
    const Buffer x = Memory(4 * int64_t{tokens} * shape_.hidden);
    const Buffer normed = Memory(4 * int64_t{tokens} * shape_.hidden);
    const Buffer wide = Memory(4 * int64_t{tokens} * widest);
    const Buffer narrow = Memory(4 * int64_t{tokens} * std::max(shape_.ffn, shape_.hidden));
    const Buffer logits = Memory(4 * int64_t{sequences} * shape_.vocab);
    const auto plan = ops_.MakeStepPlan(tokens, sequences, blocks);
    Randomize(x, int64_t{tokens} * shape_.hidden);

    const auto step = [&] {
      ops_.PlanStep(inputs, plan.get());
      const int64_t t = tokens;
      const TensorView rx(x.data(), DType::kF32, {t, shape_.hidden});
      const TensorView rn(normed.data(), DType::kF32, {t, shape_.hidden});
      const int64_t attended = int64_t{shape_.heads} * shape_.head_dim;
      const TensorView qkv(wide.data(), DType::kF32, {t, shape_.qkv()});
      const TensorView mixed(narrow.data(), DType::kF32, {t, attended});
      const TensorView projected(narrow.data(), DType::kF32, {t, shape_.hidden});
      const TensorView gate_up(wide.data(), DType::kF32, {t, 2 * int64_t{shape_.ffn}});
      const TensorView activated(narrow.data(), DType::kF32, {t, shape_.ffn});
      const float scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
      ops_.RmsNorm(rx, layers_[0].norm, 1e-5F, rn);
      for (int32_t i = 0; i < shape_.layers; ++i) {
        const Layer& layer = layers_[i];
        ops_.Linear(rn, layer.qkv, qkv);
        ops_.RopeAppendKv(*plan, rope_, qkv, shape_.heads, kv[i]);
        ops_.Attention(*plan, qkv, shape_.heads, kv[i], scale, mixed);
        // Where a product's rows are not its own output's memory.
        const TensorView sum(wide.data(), DType::kF32, {t, shape_.hidden});
        ops_.Linear(mixed, layer.output, sum);
        ops_.AddRmsNorm(rx, sum, layer.norm, 1e-5F, rn);
        ops_.Linear(rn, layer.gate_up, gate_up);
        ops_.SiluMul(gate_up, activated);
        ops_.Linear(activated, layer.down, sum);
        ops_.AddRmsNorm(rx, sum, layer.norm, 1e-5F, rn);
      }
      const TensorView last(projected.data, DType::kF32, {sequences, shape_.hidden});
      ops_.GatherSampleRows(*plan, rn, last);
      ops_.Linear(last, head_, {logits.data(), DType::kF32, {sequences, shape_.vocab}});
      Require(ops_.Finish());
    };
    const auto per_step = Time(step);
    std::printf(
        "{\"what\":\"%s\",\"shape\":\"%s\",\"format\":\"%s\",\"sequences\":%d,\"context\":%d,"
        "\"rows\":%d,\"ms\":%.4f,\"tokens_per_s\":%.1f}\n",
        what, shape_.name.c_str(), arguments_.format.c_str(), sequences, context, tokens,
        per_step * 1e3, tokens / per_step);
    std::fflush(stdout);
  }

  // One product of `rows` rows with the widest matrix: what the matrix units do.
  void MeasureProduct(int32_t rows) {
    const Layer& layer = layers_[0];
    const int64_t in = shape_.hidden;
    const int64_t out = 2 * int64_t{shape_.ffn};
    const int64_t scratch_bytes = ops_.ScratchBytes(rows, 1, out, 1);
    const Buffer scratch = Memory(scratch_bytes);
    ops_.SetScratch({scratch.data(), DType::kU8, {scratch_bytes}});
    const Buffer x = Memory(4 * rows * in);
    const Buffer y = Memory(4 * rows * out);
    Randomize(x, rows * in);
    const double s = Time([&] {
      ops_.Linear({x.data(), DType::kF32, {rows, in}}, layer.gate_up,
                  {y.data(), DType::kF32, {rows, out}});
      Require(ops_.Finish());
    });
    std::printf(
        "{\"what\":\"product\",\"format\":\"%s\",\"rows\":%d,\"us\":%.2f,\"tflops\":%.2f}\n",
        arguments_.format.c_str(), rows, s * 1e6,
        2.0 * rows * static_cast<double>(in * out) / s * 1e-12);
    std::fflush(stdout);
  }

  // Bytes read and written by copies within the device's memory.
  void MeasureCopy(int64_t megabytes) {
    const int64_t columns = int64_t{1} << 18;
    const int64_t rows = std::max<int64_t>(1, megabytes * (1 << 20) / (4 * columns));
    const Buffer from = Memory(4 * rows * columns);
    const Buffer to = Memory(4 * rows * columns);
    ops_.Fill(from.data(), 0x5a, from.size());
    const double s = Time([&] {
      ops_.CopyColumns({from.data(), DType::kF32, {rows, columns}}, 0,
                       {to.data(), DType::kF32, {rows, columns}}, 0, columns);
      Require(ops_.Finish());
    });
    std::printf("{\"what\":\"copy\",\"megabytes\":%lld,\"tb_per_s\":%.3f}\n",
                static_cast<long long>(rows * columns * 4 >> 20),
                2.0 * 4.0 * static_cast<double>(rows * columns) / s * 1e-12);
    std::fflush(stdout);
  }

 private:
  static constexpr int32_t kBlock = 16;
  static constexpr int32_t kMaxContext = 8192;

  void Skip(const char* what, int32_t sequences, int32_t context, const char* why) const {
    std::printf("{\"what\":\"%s\",\"sequences\":%d,\"context\":%d,\"skipped\":\"%s\"}\n", what,
                sequences, context, why);
  }

  Buffer Memory(int64_t bytes) {
    return Take(Buffer::Create(ops_.allocator(), static_cast<size_t>(std::max<int64_t>(bytes, 1))));
  }

  uint64_t Draw() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return state_ >> 33;
  }
  // Uniform, of the given deviation.
  float DrawFloat(float deviation) {
    return (static_cast<float>(Draw() & 0xffff) / 32768.0F - 1.0F) * 1.73F * deviation;
  }
  void Randomize(const Buffer& to, int64_t floats) {
    std::vector<float> values(static_cast<size_t>(floats));
    for (float& v : values) v = DrawFloat(1.0F);
    ops_.CopyIn(to.data(), values.data(), values.size() * sizeof(float));
  }
  VectorWeight Vector(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n), 1.0F);
    return Take(ops_.PackVector({values.data(), DType::kF32, {n}}));
  }
  LinearWeight Matrix(int64_t out, int64_t in) {
    RawLinear raw;
    const float deviation = 1.0F / std::sqrt(static_cast<float>(in));
    const int64_t values = out * in;
    std::vector<uint8_t> bytes;
    std::vector<float> scales;
    std::vector<uint8_t> zeros;
    if (format_ == "bf16") {
      bytes.resize(static_cast<size_t>(2 * values));
      // A pattern of a million numbers, shifted: drawing all of them takes longer than
      // all else.
      constexpr int64_t kDrawn = 1 << 20;
      std::vector<uint16_t> drawn(static_cast<size_t>(std::min(values, kDrawn)));
      for (uint16_t& v : drawn) v = F32ToBF16(DrawFloat(deviation));
      for (int64_t i = 0; i < values; i += kDrawn) {
        std::memcpy(bytes.data() + 2 * i, drawn.data(),
                    static_cast<size_t>(2 * std::min(kDrawn, values - i)));
      }
      raw = {WeightFormat::kBF16, {bytes.data(), DType::kBF16, {out, in}}, {}, {}, 0};
    } else {
      const bool four = format_ == "int4";
      constexpr int32_t kGroup = 128;
      const int32_t group = in % kGroup == 0 ? kGroup : 32;
      const int64_t groups = four ? in / group : 1;
      bytes.resize(static_cast<size_t>(four ? values / 2 : values));
      for (uint8_t& b : bytes) b = static_cast<uint8_t>(Draw());
      scales.assign(static_cast<size_t>(out * groups), deviation / (four ? 4.6F : 74.0F));
      zeros.assign(static_cast<size_t>(out * groups), 8);
      raw.format = four ? WeightFormat::kInt4 : WeightFormat::kInt8;
      raw.data = {bytes.data(), four ? DType::kU8 : DType::kI8, {out, four ? in / 2 : in}};
      raw.scales = four ? TensorView(scales.data(), DType::kF32, {out, groups})
                        : TensorView(scales.data(), DType::kF32, {out});
      if (four) raw.zeros = {zeros.data(), DType::kU8, {out, groups}};
      raw.group_size = four ? group : 0;
    }
    return Take(ops_.Pack({&raw, 1}, {}));
  }

  // Seconds a call, the median of rounds, after a warm-up.
  template <class Run>
  double Time(const Run& run) const {
    using Clock = std::chrono::steady_clock;
    const auto since = [](Clock::time_point start) {
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    constexpr int kWarmUp = 18;  // a decode step that came 16 times is recorded, then replayed
    for (int i = 0; i < kWarmUp; ++i) run();
    std::vector<double> rounds;
    const auto start = Clock::now();
    while (rounds.size() < 5 || (since(start) < arguments_.seconds && rounds.size() < 10000)) {
      const auto before = Clock::now();
      run();
      rounds.push_back(since(before));
    }
    std::nth_element(rounds.begin(), rounds.begin() + static_cast<int64_t>(rounds.size() / 2),
                     rounds.end());
    return rounds[rounds.size() / 2];
  }

  Ops& ops_;
  const Shape& shape_;
  const Arguments arguments_;
  std::string format_ = "bf16";
  uint64_t state_ = 1;
  std::vector<Layer> layers_;
  LinearWeight head_;
  RopeTable rope_;
  KvLayerSpec kv_spec_;
};

int Run(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--backend")
      arguments.backend = argv[i + 1];
    else if (flag == "--shape")
      arguments.shape = argv[i + 1];
    else if (flag == "--format")
      arguments.format = argv[i + 1];
    else if (flag == "--seconds")
      arguments.seconds = std::atof(argv[i + 1]);
    else {
      std::cerr << "device_bench: unknown flag " << flag << "\n";
      return 2;
    }
  }
  const Shape* shape = nullptr;
  for (const Shape& s : kShapes) {
    if (s.name == arguments.shape) shape = &s;
  }
  if (shape == nullptr ||
      (arguments.format != "bf16" && arguments.format != "int8" && arguments.format != "int4")) {
    std::cerr << "device_bench: unknown shape or format\n";
    return 2;
  }
  BackendOptions options;
  options.activations = Activations::kAuto;
  const std::unique_ptr<Backend> backend = Take(CreateBackend(arguments.backend, options));
  std::printf("{\"what\":\"device\",\"description\":\"%s\"}\n", backend->Description().c_str());
  const bool tiny = shape->name == "tiny";
  Bench bench(*backend, *shape, arguments);
  bench.MeasureCopy(tiny ? 4 : 1024);
  bench.SetFormat(arguments.format);
  bench.Load();
  for (const int32_t rows : {1, 16, 64, 512, 2048}) {
    if (!tiny || rows <= 64) bench.MeasureProduct(rows);
  }
  for (const int32_t context : {512, 2048}) {
    for (const int32_t sequences : {1, 8, 32, 64}) {
      if (!tiny || (context == 512 && sequences <= 8)) {
        bench.Measure("decode", sequences, context, 1);
      }
    }
  }
  for (const int32_t rows : {512, 2048}) {
    if (!tiny) bench.Measure("prefill", 1, rows, rows);
  }
  if (tiny) bench.Measure("prefill", 1, 32, 32);
  return 0;
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) { return inferd::Run(argc, argv); }
