// One list of cases per op: what conformance_test compares between backends and
// what kernel_bench times, so that a speed belongs to a verified case.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "inferd/ops/ops.h"

namespace inferd::testing {

// Rows of f32 between guard words, in the memory of `ops` or, without, the host's.
// Not movable: views point into it.
class GuardedRows {
 public:
  GuardedRows(int64_t rows, int64_t columns, Ops* ops = nullptr);
  GuardedRows(const GuardedRows&) = delete;
  GuardedRows& operator=(const GuardedRows&) = delete;
  TensorView view();
  void Poison();  // a NaN no op computes
  void Set(const std::vector<float>& values);
  std::vector<float> Get() const;
  bool GuardsIntact() const;

 private:
  static constexpr int64_t kGuard = 64;
  std::vector<float> Read() const;  // guards included
  int64_t rows_;
  int64_t columns_;
  Ops* ops_;
  std::vector<float> memory_;  // what is written next; without ops, the rows themselves
  Buffer device_;
};

// `x` [rows, in] through `run(x, out)` on the ops' memory; `out` is [rows, columns].
std::vector<float> RunOnRows(Ops& ops, const std::vector<float>& x, int64_t rows, int64_t columns,
                             const std::function<void(TensorView x, TensorView out)>& run);

// A case with its tensors, weights and cache on one backend. Reset() puts inputs
// back and poisons outputs; Run() calls the op once.
class PreparedCase {
 public:
  explicit PreparedCase(Ops& ops) : ops_(ops) {}
  // `initial` empty: an output, poisoned by Reset and compared. With values and
  // `compared`: updated in place.
  GuardedRows& AddRows(int64_t rows, int64_t columns, std::vector<float> initial, bool compared);
  void SetRun(std::function<void()> run) { run_ = std::move(run); }
  // Keeps something alive as long as the case.
  template <class T>
  T& Keep(T value) {
    auto kept = std::make_shared<T>(std::move(value));
    kept_.push_back(kept);
    return *kept;
  }
  // Scratch for the given bounds, handed to the ops.
  void UseScratch(int32_t max_tokens, int32_t max_sequences, int64_t max_features, int64_t vocab);

  Ops& ops() { return ops_; }
  void Reset();
  void Run() { run_(); }
  std::vector<float> Outputs() const;  // compared tensors, one after another
  bool GuardsIntact() const;

 private:
  struct Tensor {
    std::unique_ptr<GuardedRows> rows;
    std::vector<float> initial;
    bool compared;
  };
  Ops& ops_;
  std::vector<Tensor> tensors_;
  std::vector<std::shared_ptr<void>> kept_;
  Buffer scratch_;
  std::function<void()> run_;
};

struct OpCase {
  std::string name;
  // |a - ref| <= tolerance * (|ref| + rms(ref)), and why that much.
  double tolerance;
  const char* reason;
  double bytes;  // read and written at least, for the benchmark
  double flops;
  std::function<std::unique_ptr<PreparedCase>(Ops& ops)> prepare;
  bool integer = false;                                // the flops are on 8-bit integers
  std::optional<WeightFormat> weights = std::nullopt;  // that a backend must support
  // Where a library's FP8 products take over, whose tensor cores keep some 14 bits of a sum
  // before they add it to an f32; 0: nowhere.
  double fp8_unit_tolerance = 0;
};

struct LinearShape {
  int64_t rows;
  int64_t in;
  int64_t out;
  WeightFormat format = WeightFormat::kF32;
  int parts = 1;
  bool bias = false;
  int32_t group_size = 0;      // kInt4; FP8, 0: all of a row
  bool half_scales = true;     // kInt4: every scale is an f16
  bool zero_per_group = true;  // kInt4: else 8 throughout
};
OpCase LinearCase(const LinearShape& shape);
// The case's weight alone.
StatusOr<LinearWeight> PackLinear(const LinearShape& shape, Ops& ops);

// A sequence in a step: its last `rows` of `context` tokens are this step's.
struct SequenceShape {
  int32_t context;
  int32_t rows;
};
struct AttentionShape {
  int32_t q_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t block_size;
  DType dtype;
  std::vector<SequenceShape> sequences;
};
OpCase AttentionCase(const AttentionShape& shape);
// AppendKv, or RopeAppendKv with Rope before it, read back through Attention.
OpCase RopeAppendCase(const AttentionShape& shape, int32_t rotary_dim, bool fused);

OpCase RmsNormCase(int64_t rows, int64_t n, bool in_place);
OpCase AddRmsNormCase(int64_t rows, int64_t n);
OpCase HeadRmsNormCase(int64_t rows, int32_t heads, int32_t first, int32_t count, int32_t head_dim);
OpCase AddCase(int64_t rows, int64_t n);
OpCase SiluMulCase(int64_t rows, int64_t n);
OpCase RopeCase(int32_t rows, int32_t heads, int32_t head_dim, int32_t rotary_dim);
// With `from_head` the rows are taken out of the packed matrix, where the ops can (ReadsRows).
OpCase EmbedCase(int32_t rows, int32_t vocab, int64_t n, DType dtype, bool from_head = false);
OpCase GatherCase(int32_t rows, int64_t n);
OpCase CopyColumnsCase(int32_t rows, int64_t from_columns, int64_t to_columns, int64_t columns);

// Every case the conformance test runs on blocks of `block_size` tokens.
std::vector<OpCase> AllCases(int32_t block_size);

// Seeded values: normal, mean 0.
std::vector<float> Normal(uint32_t seed, int64_t n, float deviation = 1.0F);
// A host copy of `values` in a 16- or 32-bit float format.
std::vector<std::byte> Encode(const std::vector<float>& values, DType dtype);

// A step over `shape` with scattered blocks, planned on `ops`; `plan_row_count`
// tokens in all. Positions, tables and sample rows (the last of each sequence)
// follow from the shapes.
struct StepFixture {
  std::vector<TokenId> token_ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> row_start;
  std::vector<int32_t> context_len;
  std::vector<BlockId> block_tables;
  std::vector<int32_t> sample_rows;
  int32_t table_stride = 0;
  int32_t num_blocks = 1;

  StepFixture(const std::vector<SequenceShape>& sequences, int32_t block_size,
              int32_t min_stride = 1);
  StepInputs Inputs() const;
  std::unique_ptr<StepPlan> Plan(Ops& ops) const;
};

}  // namespace inferd::testing
