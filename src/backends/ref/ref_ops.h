// The reference ops: scalar, in the order of the formulas, sums in double.
#pragma once

#include <memory>
#include <string_view>

#include "backends/host/host_ops.h"
#include "backends/ref/ref_sampling.h"

namespace inferd {

// Used by one rank thread. Not final: tests derive backends with another cache
// layout from it.
class RefOps : public HostOps {
 public:
  // With `round_rows` Linear rounds x to bf16 for bf16 weights.
  explicit RefOps(bool round_rows = false) : round_rows_(round_rows) {}

  std::string_view name() const override { return "ref"; }

  bool Supports(WeightFormat format) const override;
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override;
  int64_t KvBytesPerBlock(const KvLayerSpec& spec) const override;
  int64_t ScratchBytes(int32_t, int32_t, int64_t, int64_t) const override { return 0; }
  void SetScratch(TensorView) override {}

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

 protected:
  // Where the head_dim values of one head of one cached token lie, in elements
  // from the start of the block: offset, offset + stride, … With kI8 also where
  // their scale lies, in floats.
  struct KvPlace {
    int64_t offset;
    int64_t stride;
    int64_t scale;
  };
  // Here: [K | V][token][kv head][dim], then the scales [K | V][token][kv head].
  virtual KvPlace PlaceInBlock(const KvLayerSpec& spec, bool value, int32_t token,
                               int32_t head) const;

 private:
  // Rounds as Linear rounds a row; a head that is not finite gets a scale of NaN.
  static void StoreInt8(std::byte* block, const KvPlace& place, const float* head, int32_t n);

  const bool round_rows_;
  RefSamplerMemory sampler_;
  std::vector<double> scores_;  // one query's, over its context
  std::vector<double> mixed_;   // [head_dim] weighted values of one query
};

}  // namespace inferd
