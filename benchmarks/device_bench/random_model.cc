#include "random_model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace inferd::device_bench {

void Require(const Status& status) {
  if (status.ok()) return;
  std::cerr << "device_bench: " << status.ToString() << "\n";
  std::exit(1);
}

uint64_t RandomModel::Draw() {
  state_ = state_ * 6364136223846793005U + 1442695040888963407U;
  return state_ >> 33;
}

float RandomModel::DrawFloat(float deviation) {
  return (static_cast<float>(Draw() & 0xffff) / 32768.0F - 1.0F) * 1.73F * deviation;
}

Buffer RandomModel::Memory(int64_t bytes) const {
  return Take(Buffer::Create(ops_.allocator(), static_cast<size_t>(std::max<int64_t>(bytes, 1))));
}

void RandomModel::Randomize(const Buffer& to, int64_t floats) {
  std::vector<float> values(static_cast<size_t>(floats));
  for (float& v : values) v = DrawFloat(1.0F);
  ops_.CopyIn(to.data(), values.data(), values.size() * sizeof(float));
}

const RandomModel::Raw& RandomModel::Drawn(const std::string& format, int64_t out, int64_t in) {
  const auto [place, is_new] = drawn_.try_emplace({out, in});
  Raw& made = place->second;
  if (!is_new) return made;
  const float deviation = 1.0F / std::sqrt(static_cast<float>(in));
  const int64_t values = out * in;
  if (format == "bf16") {
    made.bytes.resize(static_cast<size_t>(2 * values));
    // A pattern of a million numbers: drawing all of them takes longer than all else.
    constexpr int64_t kDrawn = 1 << 20;
    std::vector<uint16_t> pattern(static_cast<size_t>(std::min(values, kDrawn)));
    for (uint16_t& v : pattern) v = F32ToBF16(DrawFloat(deviation));
    for (int64_t i = 0; i < values; i += kDrawn) {
      std::memcpy(made.bytes.data() + 2 * i, pattern.data(),
                  static_cast<size_t>(2 * std::min(kDrawn, values - i)));
    }
    made.raw = {WeightFormat::kBF16, {made.bytes.data(), DType::kBF16, {out, in}}, {}, {}, 0};
    return made;
  }
  const bool four = format == "int4";
  const bool fp8 = format == "fp8";
  constexpr int32_t kGroup = 128;
  const auto group = four ? (in % kGroup == 0 ? kGroup : 32) : static_cast<int32_t>(in);
  const int64_t groups = in / group;
  made.bytes.resize(static_cast<size_t>(four ? values / 2 : values));
  for (uint8_t& b : made.bytes) {
    // Of E4M3 all but the NaNs, which have all other bits set: small exponents.
    b = static_cast<uint8_t>(fp8 ? Draw() & 0xbf : Draw());
  }
  const float largest = four ? 4.6F : fp8 ? 1.0F : 74.0F;
  made.scales.assign(static_cast<size_t>(out * groups), deviation / largest);
  made.raw.format = four ? WeightFormat::kInt4 : fp8 ? WeightFormat::kFp8 : WeightFormat::kInt8;
  made.raw.data = {made.bytes.data(),
                   four  ? DType::kU8
                   : fp8 ? DType::kF8E4M3
                         : DType::kI8,
                   {out, four ? in / 2 : in}};
  made.raw.scales = four || fp8 ? TensorView(made.scales.data(), DType::kF32, {out, groups})
                                : TensorView(made.scales.data(), DType::kF32, {out});
  if (four) {
    made.zeros.assign(static_cast<size_t>(out * groups), 8);
    made.raw.zeros = {made.zeros.data(), DType::kU8, {out, groups}};
  }
  made.raw.group_size = four || fp8 ? group : 0;
  return made;
}

LinearWeight RandomModel::Matrix(const std::string& format, int64_t out, int64_t in) {
  using Clock = std::chrono::steady_clock;
  const RawLinear raw = Drawn(format, out, in).raw;
  const auto start = Clock::now();
  LinearWeight weight = Take(ops_.Pack({&raw, 1}, {}));
  packing_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  packed_bytes_ += static_cast<int64_t>(weight.packed.size());
  return weight;
}

double RandomModel::Load(int32_t max_context) {
  const Shape& s = options_.shape;
  const std::vector<float> ones(static_cast<size_t>(s.hidden), 1.0F);
  for (int32_t i = 0; i < s.layers; ++i) {
    Layer layer;
    layer.norm = Take(ops_.PackVector({const_cast<float*>(ones.data()), DType::kF32, {s.hidden}}));
    layer.qkv = Matrix(options_.format, s.qkv(), s.hidden);
    layer.output = Matrix(options_.format, s.hidden, int64_t{s.heads} * s.head_dim);
    layer.gate_up = Matrix(options_.format, 2 * int64_t{s.ffn}, s.hidden);
    layer.down = Matrix(options_.format, s.hidden, s.ffn);
    layers_.push_back(std::move(layer));
  }
  drawn_.clear();
  head_ = Matrix("bf16", s.vocab, s.hidden);
  drawn_.clear();
  rope_.max_positions = max_context;
  rope_.rotary_dim = s.head_dim;
  const std::vector<float> angles(static_cast<size_t>(max_context) * s.head_dim / 2, 0.7F);
  rope_.cos = Take(ops_.Upload(angles));
  rope_.sin = Take(ops_.Upload(angles));
  kv_spec_ = {s.kv_heads, s.head_dim, kBlock, DType::kBF16};
  return packing_seconds_;
}

}  // namespace inferd::device_bench
