// Cases of the ops that know positions: rope, the cache, attention.
#include <cmath>

#include "inferd/base/check.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

std::string Describe(const AttentionShape& s) {
  std::string name = std::string(DTypeName(s.dtype)) + "_h" + std::to_string(s.q_heads) + "x" +
                     std::to_string(s.kv_heads) + "_d" + std::to_string(s.head_dim) + "_b" +
                     std::to_string(s.block_size);
  const size_t shown = std::min<size_t>(s.sequences.size(), 4);
  for (size_t i = 0; i < shown; ++i) {
    name +=
        "_" + std::to_string(s.sequences[i].context) + "." + std::to_string(s.sequences[i].rows);
  }
  if (shown < s.sequences.size()) name += "_of" + std::to_string(s.sequences.size());
  return name;
}

RopeTable MakeRopeTable(Ops& ops, int64_t positions, int64_t rotary_dim) {
  const int64_t half = rotary_dim / 2;
  std::vector<float> cos(static_cast<size_t>(positions * half));
  std::vector<float> sin(cos.size());
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(p) *
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
      cos[p * half + i] = static_cast<float>(std::cos(angle));
      sin[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  RopeTable table;
  table.max_positions = positions;
  table.rotary_dim = rotary_dim;
  auto cos_buffer = ops.Upload(cos);
  auto sin_buffer = ops.Upload(sin);
  INFERD_CHECK(cos_buffer.ok() && sin_buffer.ok());
  table.cos = std::move(*cos_buffer);
  table.sin = std::move(*sin_buffer);
  return table;
}

// A cache of NaNs: what was not written must not be read.
KvLayerView MakeCache(PreparedCase& prepared, const AttentionShape& s, int32_t num_blocks) {
  KvLayerView kv;
  kv.spec = {s.kv_heads, s.head_dim, s.block_size, s.dtype};
  kv.num_blocks = num_blocks;
  const auto bytes = static_cast<size_t>(num_blocks * prepared.ops().KvBytesPerBlock(kv.spec));
  auto buffer = Buffer::Create(prepared.ops().allocator(), bytes);
  INFERD_CHECK(buffer.ok());
  prepared.ops().Fill(buffer->data(), 0xff, bytes);
  kv.data = prepared.Keep(std::move(*buffer)).data();
  return kv;
}

int64_t RowWidth(const AttentionShape& s) {
  return int64_t{s.q_heads + 2 * s.kv_heads} * s.head_dim;
}

// The qkv row of every position of every sequence depends on (sequence, position).
std::vector<float> QkvRows(const AttentionShape& s, size_t sequence, int32_t first, int32_t count) {
  std::vector<float> rows;
  for (int32_t p = first; p < first + count; ++p) {
    const auto row = Normal(static_cast<uint32_t>(1000 + sequence * 100003 + p), RowWidth(s));
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

// Puts everything before this step's rows into the cache.
void AppendHistory(Ops& ops, const AttentionShape& s, const StepFixture& step,
                   const KvLayerView& kv) {
  for (size_t i = 0; i < s.sequences.size(); ++i) {
    const int32_t past = s.sequences[i].context - s.sequences[i].rows;
    if (past == 0) continue;
    StepFixture history({{past, past}}, s.block_size, step.table_stride);
    const auto* table = step.block_tables.data() + i * step.table_stride;
    history.block_tables.assign(table, table + step.table_stride);
    GuardedRows rows(past, RowWidth(s), &ops);
    rows.Set(QkvRows(s, i, 0, past));
    const auto plan = history.Plan(ops);
    ops.AppendKv(*plan, rows.view(), s.q_heads, kv);
    INFERD_CHECK(ops.Finish().ok());
  }
}

std::vector<float> StepRows(const AttentionShape& s) {
  std::vector<float> rows;
  for (size_t i = 0; i < s.sequences.size(); ++i) {
    const SequenceShape& sequence = s.sequences[i];
    const auto own = QkvRows(s, i, sequence.context - sequence.rows, sequence.rows);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  return rows;
}

void CountWork(const AttentionShape& s, OpCase* c) {
  for (const SequenceShape& sequence : s.sequences) {
    double keys = 0;
    for (int32_t i = 0; i < sequence.rows; ++i) keys += sequence.context - i;
    c->flops += 4.0 * keys * s.q_heads * s.head_dim;
    const int64_t scale = s.dtype == DType::kI8 ? DTypeSize(DType::kF32) : 0;
    c->bytes += 2.0 * sequence.context * s.kv_heads *
                    static_cast<double>(s.head_dim * DTypeSize(s.dtype) + scale) +
                8.0 * sequence.rows * s.q_heads * s.head_dim;
  }
}

}  // namespace

OpCase AttentionCase(const AttentionShape& s) {
  OpCase c;
  c.name = "Attention_" + Describe(s);
  c.tolerance = 4e-6;
  c.reason = "f32 scores, exponentials and sums over the context; the cache rounds alike";
  c.bytes = 0;
  c.flops = 0;
  CountWork(s, &c);
  c.prepare = [s](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const StepFixture step(s.sequences, s.block_size);
    StepPlan& plan = *prepared->Keep(step.Plan(ops));
    const int32_t tokens = plan.num_tokens();
    prepared->UseScratch(tokens, static_cast<int32_t>(s.sequences.size()), RowWidth(s), 1);
    const KvLayerView kv = MakeCache(*prepared, s, step.num_blocks);
    AppendHistory(ops, s, step, kv);
    GuardedRows& qkv = prepared->AddRows(tokens, RowWidth(s), StepRows(s), false);
    GuardedRows& out = prepared->AddRows(tokens, int64_t{s.q_heads} * s.head_dim, {}, true);
    prepared->Reset();
    ops.AppendKv(plan, qkv.view(), s.q_heads, kv);
    const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
    prepared->SetRun([=, &ops, &plan, &qkv, &out] {
      ops.Attention(plan, qkv.view(), s.q_heads, kv, scale, out.view());
    });
    return prepared;
  };
  return c;
}

OpCase RopeAppendCase(const AttentionShape& s, int32_t rotary_dim, bool fused) {
  OpCase c;
  c.name = std::string(fused ? "RopeAppendKv_" : "RopeThenAppendKv_") + Describe(s) + "_r" +
           std::to_string(rotary_dim);
  c.tolerance = s.dtype == DType::kF8E4M3 ? 0.15
                : s.dtype == DType::kI8   ? 3e-2
                : s.dtype == DType::kBF16 ? 2e-3
                                          : 4e-6;
  c.reason = "f32 rotation; in bf16 or 8 bits it may round to the neighbouring value";
  c.bytes = 0;
  c.flops = 0;
  CountWork(s, &c);
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const StepFixture step(s.sequences, s.block_size);
    StepPlan& plan = *prepared->Keep(step.Plan(ops));
    const int32_t tokens = plan.num_tokens();
    prepared->UseScratch(tokens, static_cast<int32_t>(s.sequences.size()), RowWidth(s), 1);
    int32_t positions = 0;
    for (const SequenceShape& sequence : s.sequences)
      positions = std::max(positions, sequence.context);
    const RopeTable& table = prepared->Keep(MakeRopeTable(ops, positions, rotary_dim));
    const KvLayerView kv = MakeCache(*prepared, s, step.num_blocks);
    AppendHistory(ops, s, step, kv);
    GuardedRows& qkv = prepared->AddRows(tokens, RowWidth(s), StepRows(s), true);
    GuardedRows& out = prepared->AddRows(tokens, int64_t{s.q_heads} * s.head_dim, {}, true);
    prepared->SetRun([=, &ops, &plan, &table, &qkv, &out] {
      if (fused) {
        ops.RopeAppendKv(plan, table, qkv.view(), s.q_heads, kv);
      } else {
        ops.Rope(plan, table, qkv.view(), s.q_heads + s.kv_heads, s.head_dim);
        ops.AppendKv(plan, qkv.view(), s.q_heads, kv);
      }
      ops.Attention(plan, qkv.view(), s.q_heads, kv, 0.2F, out.view());
    });
    return prepared;
  };
  return c;
}

OpCase RopeCase(int32_t rows, int32_t heads, int32_t head_dim, int32_t rotary_dim) {
  OpCase c;
  c.name = "Rope_" + std::to_string(rows) + "_" + std::to_string(heads) + "_" +
           std::to_string(head_dim) + "_" + std::to_string(rotary_dim);
  c.tolerance = 1e-6;
  c.reason = "two products and a sum in f32";
  c.bytes = 8.0 * rows * heads * rotary_dim;
  c.flops = 3.0 * rows * heads * rotary_dim;
  c.prepare = [=](Ops& ops) {
    auto prepared = std::make_unique<PreparedCase>(ops);
    const StepFixture step({{rows + 5, rows}}, 16);
    StepPlan& plan = *prepared->Keep(step.Plan(ops));
    const RopeTable& table = prepared->Keep(MakeRopeTable(ops, rows + 5, rotary_dim));
    const int64_t width = int64_t{heads} * head_dim + 3;  // rows may be wider than the heads
    GuardedRows& x = prepared->AddRows(rows, width, Normal(71, rows * width), true);
    prepared->SetRun(
        [=, &ops, &plan, &table, &x] { ops.Rope(plan, table, x.view(), heads, head_dim); });
    return prepared;
  };
  return c;
}

}  // namespace inferd::testing
