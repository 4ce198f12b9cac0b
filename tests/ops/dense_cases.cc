// Cases of the ops that look at one row at a time.
#include <cmath>

#include "inferd/base/check.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

constexpr const char* kF32Sums = "f32 sums against double: a few ulp";
constexpr const char* kExact = "copies and single additions are exact";

VectorWeight MakeVector(Ops& ops, uint32_t seed, int64_t n) {
  std::vector<float> values = Normal(seed, n, 0.3F);
  for (float& v : values) v += 1.0F;
  auto weight = ops.PackVector({values.data(), DType::kF32, {n}});
  INFERD_CHECK(weight.ok());
  return std::move(*weight);
}

std::string Dims(std::initializer_list<int64_t> dims) {
  std::string text;
  for (const int64_t d : dims) text += "_" + std::to_string(d);
  return text;
}

}  // namespace

OpCase RmsNormCase(int64_t rows, int64_t n, bool in_place) {
  OpCase c{"RmsNorm" + Dims({rows, n}) + (in_place ? "_in_place" : ""),
           2e-6,
           kF32Sums,
           static_cast<double>(8 * rows * n),
           static_cast<double>(4 * rows * n),
           nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const VectorWeight& weight = prepared->Keep(MakeVector(ops, 21, n));
    GuardedRows& x = prepared->AddRows(rows, n, Normal(22, rows * n), in_place);
    GuardedRows& out = in_place ? x : prepared->AddRows(rows, n, {}, true);
    prepared->SetRun(
        [&ops, &weight, &x, &out] { ops.RmsNorm(x.view(), weight, 1e-5F, out.view()); });
    return prepared;
  };
  return c;
}

OpCase AddRmsNormCase(int64_t rows, int64_t n) {
  OpCase c{"AddRmsNorm" + Dims({rows, n}),    2e-6,   kF32Sums, static_cast<double>(16 * rows * n),
           static_cast<double>(5 * rows * n), nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const VectorWeight& weight = prepared->Keep(MakeVector(ops, 21, n));
    GuardedRows& x = prepared->AddRows(rows, n, Normal(22, rows * n), true);
    GuardedRows& y = prepared->AddRows(rows, n, Normal(23, rows * n), false);
    GuardedRows& out = prepared->AddRows(rows, n, {}, true);
    prepared->SetRun([&ops, &weight, &x, &y, &out] {
      ops.AddRmsNorm(x.view(), y.view(), weight, 1e-5F, out.view());
    });
    return prepared;
  };
  return c;
}

OpCase HeadRmsNormCase(int64_t rows, int32_t heads, int32_t first, int32_t count,
                       int32_t head_dim) {
  OpCase c{"HeadRmsNorm" + Dims({rows, heads, first, count, head_dim}),
           2e-6,
           kF32Sums,
           static_cast<double>(8 * rows * count * head_dim),
           static_cast<double>(4 * rows * count * head_dim),
           nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const VectorWeight& weight = prepared->Keep(MakeVector(ops, 21, head_dim));
    const int64_t n = int64_t{heads} * head_dim;
    GuardedRows& x = prepared->AddRows(rows, n, Normal(22, rows * n), true);
    prepared->SetRun([=, &ops, &weight, &x] {
      ops.HeadRmsNorm(x.view(), first, count, head_dim, weight, 1e-6F);
    });
    return prepared;
  };
  return c;
}

OpCase AddCase(int64_t rows, int64_t n) {
  OpCase c{"Add" + Dims({rows, n}),       0,      kExact, static_cast<double>(12 * rows * n),
           static_cast<double>(rows * n), nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    GuardedRows& x = prepared->AddRows(rows, n, Normal(31, rows * n), true);
    GuardedRows& y = prepared->AddRows(rows, n, Normal(32, rows * n), false);
    prepared->SetRun([&ops, &x, &y] { ops.Add(x.view(), y.view()); });
    return prepared;
  };
  return c;
}

OpCase SiluMulCase(int64_t rows, int64_t n) {
  OpCase c{"SiluMul" + Dims({rows, n}),
           2e-6,
           "f32 exponential: 2 ulp, then a division",
           static_cast<double>(12 * rows * n),
           static_cast<double>(12 * rows * n),
           nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    // Wide enough to reach both ends of the sigmoid.
    std::vector<float> values = Normal(41, 2 * rows * n, 4.0F);
    values[0] = -200.0F;
    if (n > 1) values[1] = 200.0F;
    GuardedRows& x = prepared->AddRows(rows, 2 * n, std::move(values), false);
    GuardedRows& out = prepared->AddRows(rows, n, {}, true);
    prepared->SetRun([&ops, &x, &out] { ops.SiluMul(x.view(), out.view()); });
    return prepared;
  };
  return c;
}

OpCase EmbedCase(int32_t rows, int32_t vocab, int64_t n, DType dtype, bool from_head) {
  const WeightFormat format = dtype == DType::kF32   ? WeightFormat::kF32
                              : dtype == DType::kF16 ? WeightFormat::kF16
                                                     : WeightFormat::kBF16;
  OpCase c{(from_head ? "EmbedFromHead_" : "Embed_") + std::string(DTypeName(dtype)) +
               Dims({rows, vocab, n}),
           0,
           kExact,
           static_cast<double>(rows * n * (4 + DTypeSize(dtype))),
           0,
           nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    auto& host = prepared->Keep(Encode(Normal(51, vocab * n), dtype));
    const TensorView matrix(host.data(), dtype, {vocab, n});
    const bool packed = from_head && ops.ReadsRows(format);
    const RawLinear raw{format, matrix};
    auto head = ops.Pack({&raw, 1}, {});
    INFERD_CHECK(head.ok());
    auto table = packed ? ops.TableOf(prepared->Keep(std::move(*head))) : ops.PackEmbedding(matrix);
    INFERD_CHECK(table.ok() && table->packed == packed);
    const EmbeddingTable& kept = prepared->Keep(std::move(*table));
    StepFixture step({{rows, rows}}, 16);
    for (int32_t i = 0; i < rows; ++i) step.token_ids[i] = (i * 7919 + vocab - 1) % vocab;
    StepPlan& plan = *prepared->Keep(step.Plan(ops));
    GuardedRows& out = prepared->AddRows(rows, n, {}, true);
    prepared->SetRun([&ops, &plan, &kept, &out] { ops.Embed(plan, kept, out.view()); });
    return prepared;
  };
  return c;
}

OpCase GatherCase(int32_t rows, int64_t n) {
  OpCase c{"GatherSampleRows" + Dims({rows, n}), 0, kExact,
           static_cast<double>(8 * rows * n),    0, nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    StepFixture step({{rows, rows}}, 16);
    step.sample_rows.clear();
    for (int32_t i = 0; i < rows; i += 2) step.sample_rows.push_back(i);
    StepPlan& plan = *prepared->Keep(step.Plan(ops));
    GuardedRows& x = prepared->AddRows(rows, n, Normal(61, rows * n), false);
    GuardedRows& out = prepared->AddRows((rows + 1) / 2, n, {}, true);
    prepared->SetRun([&ops, &plan, &x, &out] { ops.GatherSampleRows(plan, x.view(), out.view()); });
    return prepared;
  };
  return c;
}

OpCase CopyColumnsCase(int32_t rows, int64_t from_columns, int64_t to_columns, int64_t columns) {
  OpCase c{"CopyColumns" + Dims({rows, from_columns, to_columns, columns}),
           0,
           kExact,
           static_cast<double>(8 * rows * columns),
           0,
           nullptr};
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    GuardedRows& from =
        prepared->AddRows(rows, from_columns, Normal(67, rows * from_columns), false);
    // The columns beside those copied stay as they are.
    GuardedRows& to = prepared->AddRows(rows, to_columns, Normal(71, rows * to_columns), true);
    prepared->SetRun([&ops, &from, &to, from_columns, to_columns, columns] {
      ops.CopyColumns(from.view(), from_columns - columns, to.view(), (to_columns - columns) / 2,
                      columns);
    });
    return prepared;
  };
  return c;
}

}  // namespace inferd::testing
