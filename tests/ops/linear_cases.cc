// Cases of Ops::Linear, all weight formats.
#include <cmath>

#include "inferd/base/check.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

std::vector<std::byte> RandomBytes(uint32_t seed, int64_t n) {
  uint64_t state = (uint64_t{seed} + 1) * 0x9E3779B97F4A7C15u;
  std::vector<std::byte> bytes(static_cast<size_t>(n));
  for (std::byte& b : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

// A checkpoint's matrix of s.out rows.
struct HostMatrix {
  std::vector<std::byte> data;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
};

int64_t Groups(const LinearShape& s) { return s.group_size > 0 ? s.in / s.group_size : 1; }

HostMatrix MakeMatrix(const LinearShape& s) {
  HostMatrix host;
  const float deviation = 1.0F / std::sqrt(static_cast<float>(s.in));
  if (IsFp8(s.format)) {
    // Every code that is a number; uniform ones have a deviation of 117.
    host.data = RandomBytes(11, s.in * s.out);
    for (std::byte& b : host.data) {
      if ((b & std::byte{0x7f}) == std::byte{0x7f}) b ^= std::byte{1};
    }
    host.scales = Normal(14, s.out * Groups(s), deviation / 117.0F);
    return host;
  }
  if (s.format != WeightFormat::kInt8 && s.format != WeightFormat::kInt4) {
    host.data = Encode(Normal(11, s.in * s.out, deviation), FormatDType(s.format));
    return host;
  }
  const bool four = s.format == WeightFormat::kInt4;
  const int64_t groups = four ? s.in / s.group_size : 1;
  host.data = RandomBytes(11, s.in * s.out / (four ? 2 : 1));
  // Uniform values have 0.29 of their range as deviation.
  host.scales = Normal(14, s.out * groups, deviation / (four ? 4.6F : 74.0F));
  if (s.half_scales) {
    for (float& scale : host.scales) scale = F16ToF32(F32ToF16(scale));
  }
  if (four) {
    for (const std::byte b : RandomBytes(15, s.out * groups)) {
      host.zeros.push_back(s.zero_per_group ? static_cast<uint8_t>(b) & 15 : 8);
    }
  }
  return host;
}

// Rows [first, first + count) of the matrix.
RawLinear PartOf(const LinearShape& s, HostMatrix& host, int64_t first, int64_t count) {
  const int64_t columns = s.format == WeightFormat::kInt4 ? s.in / 2 : s.in;
  const DType dtype = FormatDType(s.format);
  RawLinear part;
  part.format = s.format;
  part.data = {host.data.data() + first * columns * DTypeSize(dtype), dtype, {count, columns}};
  if (s.format == WeightFormat::kInt8) {
    part.scales = {host.scales.data() + first, DType::kF32, {count}};
  }
  if (s.format == WeightFormat::kInt4) {
    const int64_t groups = s.in / s.group_size;
    part.group_size = s.group_size;
    part.scales = {host.scales.data() + first * groups, DType::kF32, {count, groups}};
    part.zeros = {host.zeros.data() + first * groups, DType::kU8, {count, groups}};
  }
  if (IsFp8(s.format)) {
    part.group_size = static_cast<int32_t>(s.in / Groups(s));
    part.scales = {host.scales.data() + first * Groups(s), DType::kF32, {count, Groups(s)}};
  }
  return part;
}

std::string NameOf(const LinearShape& s) {
  std::string name = "Linear_";
  if (s.format == WeightFormat::kInt8) {
    name += "int8";
  } else if (s.format == WeightFormat::kInt4) {
    name += "int4g" + std::to_string(s.group_size);
    if (!s.half_scales) name += "f32";
    if (!s.zero_per_group) name += "z8";
  } else if (IsFp8(s.format)) {
    name += s.format == WeightFormat::kFp8 ? "fp8" : "fp8w";
    if (s.group_size > 0) name += "g" + std::to_string(s.group_size);
  } else {
    name += DTypeName(FormatDType(s.format));
  }
  for (const int64_t d : {s.rows, s.in, s.out}) name += "_" + std::to_string(d);
  if (s.parts > 1) name += "_parts" + std::to_string(s.parts);
  return name + (s.bias ? "_bias" : "");
}

int64_t WeightBytes(const LinearShape& s) {
  if (s.format == WeightFormat::kInt8) return s.in * s.out + 4 * s.out;
  if (IsFp8(s.format)) return s.in * s.out + 4 * s.out * Groups(s);
  if (s.format != WeightFormat::kInt4) return s.in * s.out * DTypeSize(FormatDType(s.format));
  const int64_t per_group = (s.half_scales ? 2 : 4) + (s.zero_per_group ? 1 : 0);
  return s.in * s.out / 2 + s.in / s.group_size * s.out * per_group;
}

}  // namespace

StatusOr<LinearWeight> PackLinear(const LinearShape& s, Ops& ops) {
  HostMatrix host = MakeMatrix(s);
  const std::vector<float> bias = Normal(12, s.out);
  std::vector<RawLinear> parts;
  std::vector<TensorView> biases;
  int64_t first = 0;
  for (int i = 0; i < s.parts; ++i) {
    const int64_t rows = i + 1 < s.parts ? s.out / s.parts : s.out - first;
    parts.push_back(PartOf(s, host, first, rows));
    if (s.bias) biases.push_back({const_cast<float*>(bias.data()) + first, DType::kF32, {rows}});
    first += rows;
  }
  return ops.Pack(parts, biases);
}

OpCase LinearCase(const LinearShape& s) {
  OpCase c;
  c.name = NameOf(s);
  c.weights = s.format;
  c.integer = s.format == WeightFormat::kInt8 || s.format == WeightFormat::kInt4;
  if (c.integer) {
    const int64_t groups = s.format == WeightFormat::kInt4 ? s.in / s.group_size : 1;
    c.tolerance = 1e-6 + 2e-7 * std::sqrt(static_cast<double>(groups));
    c.reason = "sums of products are exact; scaled and added over the groups in f32";
  } else {
    c.tolerance = 2e-7 * std::sqrt(static_cast<double>(s.in)) + 1e-6;
    c.reason = "one f32 chain over the inputs: error grows with its root";
  }
  constexpr int64_t kMostSkinnyRows = 64;
  if (s.format == WeightFormat::kFp8 && s.rows > kMostSkinnyRows && s.group_size == 0) {
    c.fp8_unit_tolerance = 2e-3;
  }
  c.bytes = static_cast<double>(WeightBytes(s) + 4 * s.rows * (s.in + s.out));
  c.flops = 2.0 * static_cast<double>(s.rows * s.in * s.out);
  c.prepare = [s](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    auto packed = PackLinear(s, ops);
    INFERD_CHECK(packed.ok());
    const LinearWeight& weight = prepared->Keep(std::move(*packed));
    prepared->UseScratch(static_cast<int32_t>(s.rows), 1, std::max(s.in, s.out), 1);
    GuardedRows& x = prepared->AddRows(s.rows, s.in, Normal(13, s.rows * s.in), false);
    GuardedRows& out = prepared->AddRows(s.rows, s.out, {}, true);
    prepared->SetRun([&ops, &weight, &x, &out] { ops.Linear(x.view(), weight, out.view()); });
    return prepared;
  };
  return c;
}

}  // namespace inferd::testing
