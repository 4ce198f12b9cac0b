#pragma once

#include <map>
#include <utility>
#include <vector>

#include "inferd/ops/ops.h"

namespace inferd::testing {

// Passes every op on and keeps the logits each Sample saw, by (seed, position) of
// the row. Read them when the executor is gone or idle.
class TapOps : public Ops {
 public:
  explicit TapOps(Ops& inner) : inner_(inner) {}

  using Key = std::pair<uint64_t, uint64_t>;  // seed, position of the token drawn
  const std::map<Key, std::vector<float>>& logits() const { return logits_; }

  std::string_view name() const override { return inner_.name(); }
  Allocator& allocator() override { return inner_.allocator(); }
  void Fill(void* data, uint8_t value, size_t bytes) override { inner_.Fill(data, value, bytes); }
  void CopyIn(void* data, const void* host, size_t bytes) override {
    inner_.CopyIn(data, host, bytes);
  }
  Status CopyOut(void* host, const void* data, size_t bytes) override {
    return inner_.CopyOut(host, data, bytes);
  }
  DeviceInfo DescribeDevice() const override { return inner_.DescribeDevice(); }
  void SetFiles(const FileBytes* files) override { inner_.SetFiles(files); }
  bool ReadsFiles() const override { return inner_.ReadsFiles(); }
  LoadThreads* load_threads() override { return inner_.load_threads(); }
  bool Supports(WeightFormat format) const override { return inner_.Supports(format); }
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override {
    return inner_.Pack(parts, bias);
  }
  StatusOr<VectorWeight> PackVector(const TensorView& host) override {
    return inner_.PackVector(host);
  }
  std::string PackedLayout() const override { return inner_.PackedLayout(); }
  bool Accepts(const LinearWeight& weight) const override { return inner_.Accepts(weight); }
  StatusOr<EmbeddingTable> PackEmbedding(const TensorView& host) override {
    return inner_.PackEmbedding(host);
  }
  bool ReadsRows(WeightFormat format) const override { return inner_.ReadsRows(format); }
  StatusOr<EmbeddingTable> TableOf(const LinearWeight& head) const override {
    return inner_.TableOf(head);
  }
  StatusOr<Buffer> Upload(std::span<const float> host) override { return inner_.Upload(host); }
  int64_t KvBytesPerBlock(const KvLayerSpec& spec) const override {
    return inner_.KvBytesPerBlock(spec);
  }
  std::unique_ptr<StepPlan> MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                         int32_t max_blocks_per_sequence) override {
    return inner_.MakeStepPlan(max_tokens, max_sequences, max_blocks_per_sequence);
  }
  int64_t ScratchBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_features,
                       int64_t vocab_size) const override {
    return inner_.ScratchBytes(max_tokens, max_sequences, max_features, vocab_size);
  }
  int64_t OverheadBytes(const ModelFootprint& model) const override {
    return inner_.OverheadBytes(model);
  }
  Status Reserve(int64_t bytes) override { return inner_.Reserve(bytes); }
  bool MemoryIsResident() const override { return inner_.MemoryIsResident(); }
  void SetScratch(TensorView scratch) override { inner_.SetScratch(scratch); }
  StatusOr<std::unique_ptr<DeviceGroup>> MakeGroup(Communicator& host,
                                                   const DeviceGroupOptions& options,
                                                   const Clock& clock) override {
    return inner_.MakeGroup(host, options, clock);
  }
  void PlanStep(const StepInputs& inputs, StepPlan* plan) override {
    inner_.PlanStep(inputs, plan);
  }
  void Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) override {
    inner_.Embed(plan, table, out);
  }
  void RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) override {
    inner_.RmsNorm(x, weight, eps, out);
  }
  void HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                   const VectorWeight& weight, float eps) override {
    inner_.HeadRmsNorm(x, first_head, num_heads, head_dim, weight, eps);
  }
  void Add(TensorView x, TensorView y) override { inner_.Add(x, y); }
  void Linear(TensorView x, const LinearWeight& weight, TensorView out) override {
    inner_.Linear(x, weight, out);
  }
  void SiluMul(TensorView gate_up, TensorView out) override { inner_.SiluMul(gate_up, out); }
  void Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
            int32_t head_dim) override {
    inner_.Rope(plan, table, x, num_heads, head_dim);
  }
  void AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                const KvLayerView& kv) override {
    inner_.AppendKv(plan, qkv, num_q_heads, kv);
  }
  void Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads, const KvLayerView& kv,
                 float scale, TensorView out) override {
    inner_.Attention(plan, qkv, num_q_heads, kv, scale, out);
  }
  void GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) override {
    inner_.GatherSampleRows(plan, x, out);
  }
  void CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                   int64_t columns) override {
    inner_.CopyColumns(from, from_column, to, to_column, columns);
  }
  bool SplitsEmbedding() const override { return inner_.SplitsEmbedding(); }
  void Sample(TensorView logits, std::span<const SampleRow> rows,
              std::span<SampleOutput> out) override {
    const int64_t vocab = logits.dim(1);
    for (size_t i = 0; i < rows.size(); ++i) {
      const float* row = logits.As<float>() + static_cast<int64_t>(i) * vocab;
      std::vector<float>& kept = logits_[{rows[i].seed, rows[i].position}];
      kept.resize(static_cast<size_t>(vocab));
      INFERD_CHECK(inner_.CopyOut(kept.data(), row, kept.size() * sizeof(float)).ok());
    }
    inner_.Sample(logits, rows, out);
  }
  Status Finish() override { return inner_.Finish(); }
  int MaxSteps() const override { return inner_.MaxSteps(); }
  void SealStep() override { inner_.SealStep(); }
  bool StepIsDone() override { return inner_.StepIsDone(); }
  Status FinishStep() override { return inner_.FinishStep(); }
  bool MustNameAgain() override { return inner_.MustNameAgain(); }
  bool PlanPreparing(StepPlan* plan) override { return inner_.PlanPreparing(plan); }
  void EndPreparing() override { inner_.EndPreparing(); }
  void AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                  TensorView out) override {
    inner_.AddRmsNorm(x, y, weight, eps, out);
  }
  Status AllReduceAddRmsNorm(Communicator& group, TensorView x, TensorView y,
                             const VectorWeight& weight, float eps, TensorView out) override {
    return inner_.AllReduceAddRmsNorm(group, x, y, weight, eps, out);
  }
  void RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                    int32_t num_q_heads, const KvLayerView& kv) override {
    inner_.RopeAppendKv(plan, table, qkv, num_q_heads, kv);
  }

 private:
  Ops& inner_;
  std::map<Key, std::vector<float>> logits_;
};

}  // namespace inferd::testing
