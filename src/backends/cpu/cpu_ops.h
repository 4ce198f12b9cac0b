// The ops of the CPU backend: check shapes, cut the work into tasks, call kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "backends/cpu/attention_work.h"
#include "backends/cpu/cpu_linear_int.h"
#include "backends/cpu/pool_threads.h"
#include "backends/cpu/thread_pool.h"
#include "backends/host/host_ops.h"
#include "cpu/linear_bf16.h"
#include "cpu/linear_int.h"

namespace inferd {

// Used by one rank thread, which takes part in the pool's work.
class CpuOps final : public HostOps {
 public:
  // `clock` must move on its own and outlive the ops. With `bf16` Linear rounds x for
  // bf16 weights and multiplies with that unit, which must run here; so must the tiles.
  CpuOps(const ThreadPoolOptions& threads, const Clock& clock,
         std::optional<kernels::Bf16Unit> bf16 = std::nullopt, IntTiles int_tiles = IntTiles::kNone)
      : bf16_(bf16), int_units_{kernels::BestDotUnit(), int_tiles}, pool_(threads, clock) {}

  int threads() const { return pool_.threads(); }
  IntUnits int_units() const { return int_units_; }

  std::string_view name() const override { return "cpu"; }

  bool ReadsFiles() const override { return true; }
  LoadThreads* load_threads() override { return &pool_threads_; }
  bool Supports(WeightFormat format) const override;
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override;
  std::string PackedLayout() const override;
  bool Accepts(const LinearWeight& weight) const override;
  bool ReadsRows(WeightFormat format) const override;
  StatusOr<EmbeddingTable> TableOf(const LinearWeight& head) const override;
  int64_t KvBytesPerBlock(const KvLayerSpec& spec) const override;
  std::unique_ptr<StepPlan> MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                         int32_t max_blocks_per_sequence) override;
  int64_t ScratchBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_features,
                       int64_t vocab_size) const override;
  void SetScratch(TensorView scratch) override;

  void Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) override;
  void RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) override;
  void HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                   const VectorWeight& weight, float eps) override;
  void Add(TensorView x, TensorView y) override;
  void Linear(TensorView x, const LinearWeight& weight, TensorView out) override;
  void SiluMul(TensorView gate_up, TensorView out) override;
  void Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
            int32_t head_dim) override;
  void AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                const KvLayerView& kv) override;
  void Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads, const KvLayerView& kv,
                 float scale, TensorView out) override;
  void Sample(TensorView logits, std::span<const SampleRow> rows,
              std::span<SampleOutput> out) override;

  void AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                  TensorView out) override;
  void RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                    int32_t num_q_heads, const KvLayerView& kv) override;

 private:
  // body(begin, end, thread) over `tasks` items of about `cost` elementary
  // operations each: in this thread when it is not worth waking anybody.
  template <class Body>
  void Split(int64_t tasks, int64_t cost, const Body& body);
  // Linear with bf16 weights and bf16_.
  void LinearBf16(TensorView x, const LinearWeight& weight, TensorView out);
  void NormalizeRows(TensorView x, const TensorView* y, const VectorWeight& weight, float eps,
                     TensorView out);
  // Rotates (when `table` is given), then stores the k and v of rows
  // [begin, end).
  void StoreRows(const HostStepPlan& step, const RopeTable* table, TensorView qkv,
                 int32_t num_q_heads, const KvLayerView& kv, int64_t begin, int64_t end) const;

  // Row `id` of a table, as floats. An error is that of reading its file.
  static Status ReadRow(const EmbeddingTable& table, int64_t id, float* to);

  const std::optional<kernels::Bf16Unit> bf16_;
  const IntUnits int_units_;  // of integer weights
  ThreadPool pool_;
  PoolThreads pool_threads_{pool_};
  TensorView scratch_;       // bytes
  AttentionWork attention_;  // planned anew by every call
};

template <class Body>
void CpuOps::Split(int64_t tasks, int64_t cost, const Body& body) {
  // A hand-over costs about a microsecond.
  constexpr int64_t kWorthSharing = 16384;
  if (tasks * cost < kWorthSharing) {
    if (tasks > 0) body(int64_t{0}, tasks, 0);
    return;
  }
  // The last ranges even out what a slow core left, so they are small, but not so
  // small that claiming them costs anything.
  constexpr int64_t kWorthClaiming = 4096;
  pool_.ParallelFor(tasks, std::max<int64_t>(1, kWorthClaiming / cost), body);
}

}  // namespace inferd
