#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "backends/cuda/cuda_step_plan.h"
#include "backends/cuda/device.h"
#include "backends/cuda/device_sampler.h"
#include "backends/cuda/group_watch.h"
#include "backends/cuda/library_gemm.h"
#include "backends/cuda/nccl_api.h"
#include "backends/cuda/profile_ranges.h"
#include "cuda/kv_cache.h"
#include "cuda/rows.h"
#include "inferd/backends/backend.h"
#include "inferd/ops/ops.h"

namespace inferd {

// The ops on one GPU: each enqueues its kernels on the device's stream. An error of
// the runtime or of a kernel stays: every later Finish answers it. A token outside the
// embedding is an error of its step alone. The rank's thread.
class CudaOps final : public Ops {
 public:
  static StatusOr<std::unique_ptr<CudaOps>> Create(const BackendOptions& options);
  ~CudaOps() override;

  Device& device() { return *device_; }
  const LibraryGemm& library() const { return *library_; }

  std::string_view name() const override { return "cuda"; }
  Allocator& allocator() override { return *device_; }
  DeviceInfo DescribeDevice() const override { return device_->Info(); }
  void Fill(void* data, uint8_t value, size_t bytes) override;
  void CopyIn(void* data, const void* host, size_t bytes) override;
  Status CopyOut(void* host, const void* data, size_t bytes) override;

  void SetFiles(const FileBytes* files) override;
  LoadThreads* load_threads() override { return device_->load_threads(); }
  bool ReadsFiles() const override { return true; }
  bool Supports(WeightFormat format) const override;
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override;
  StatusOr<VectorWeight> PackVector(const TensorView& host) override;
  StatusOr<EmbeddingTable> PackEmbedding(const TensorView& host) override;
  bool ReadsRows(WeightFormat format) const override;
  StatusOr<EmbeddingTable> TableOf(const LinearWeight& head) const override;
  StatusOr<Buffer> Upload(std::span<const float> host) override;
  int64_t KvBytesPerBlock(const KvLayerSpec& spec) const override;
  std::unique_ptr<StepPlan> MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                         int32_t max_blocks_per_sequence) override;
  int64_t ScratchBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_features,
                       int64_t vocab_size) const override;
  void SetScratch(TensorView scratch) override;
  int64_t OverheadBytes(const ModelFootprint& model) const override;
  Status Reserve(int64_t bytes) override;
  bool MemoryIsResident() const override { return true; }
  bool SplitsEmbedding() const override { return true; }

  void PlanStep(const StepInputs& inputs, StepPlan* plan) override;
  void BeginLayer(int32_t layer) override { ranges_.BeginLayer(layer); }
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
  void GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) override;
  void CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                   int64_t columns) override;
  void Sample(TensorView logits, std::span<const SampleRow> rows,
              std::span<SampleOutput> out) override;
  Status Finish() override;
  int MaxSteps() const override { return kMaxSteps; }
  void SealStep() override;
  bool StepIsDone() override;
  Status FinishStep() override;
  int64_t StepDeviceUs() const override { return step_device_us_; }
  bool MustNameAgain() override;
  bool PlanPreparing(StepPlan* plan) override;
  void EndPreparing() override;
  StatusOr<std::unique_ptr<DeviceGroup>> MakeGroup(Communicator& host,
                                                   const DeviceGroupOptions& options,
                                                   const Clock& clock) override;
  // Of groups: names a collective, as ops are named. Whether it is to be enqueued.
  bool BeginsCollective(std::initializer_list<uint64_t> what);

  void AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                  TensorView out) override;
  void RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                    int32_t num_q_heads, const KvLayerView& kv) override;

 private:
  // Rows of x in the form that a product takes, in the scratch memory.
  struct PreparedRows;

  CudaOps(std::unique_ptr<Device> device, int terms, const BackendOptions& options);

  // Names an op and what it is given: whether its kernels are to be launched, each
  // answer of which goes to Launched. Not when all is lost, nor when a graph has them.
  enum class Op : uint8_t {
    kEmbed,
    kNorm,
    kHeadNorm,
    kAdd,
    kLinear,
    kSilu,
    kRope,
    kAttention,
    kGather,
    kCopyColumns,
    kCollective,
  };
  bool Begins(Op op, std::initializer_list<TensorView> tensors, const void* weight = nullptr,
              std::initializer_list<int64_t> numbers = {});
  bool Running() const { return device_->ok(); }
  // The kernels of a step's ops are on the stream, those of a graph too.
  void EndOps() {
    if (graphs_ != nullptr && !graphs_->End()) device_->Fail(device_->graph_refusal());
    graphs_ = nullptr;
  }
  void Launched(int code, const char* what) {
    if (graphs_ == nullptr || !graphs_->Takes(code)) device_->Check(code, what);
  }
  void Norm(TensorView x, TensorView* y, const VectorWeight& weight, float eps, TensorView out);
  // Of rows that fit the scratch memory; by the form of the weights.
  void LinearPiece(TensorView x, const LinearWeight& weight, TensorView out);
  void FloatPiece(TensorView x, const LinearWeight& weight, TensorView out);
  void Bf16Piece(TensorView x, const LinearWeight& weight, TensorView out);
  void HalfPiece(TensorView x, const LinearWeight& weight, TensorView out);
  void Int8Piece(TensorView x, const LinearWeight& weight, TensorView out);
  void Int4Piece(TensorView x, const LinearWeight& weight, TensorView out);
  void Fp8Piece(TensorView x, const LinearWeight& weight, TensorView out);
  void RoundToInt8(TensorView x, int32_t row_bytes, int32_t group, std::byte* values,
                   float* scales);
  void LibraryProduct(const LinearWeight& weight, const std::byte* values, int32_t row_bytes,
                      int terms, TensorView out);
  static LibraryGemm::Kind LibraryKind(WeightFormat format);
  void WarnOfRefusal();  // once, if there was one
  // Remembers the shapes that the library multiplies, and tunes them.
  void NoteShape(const LinearWeight& weight);
  void TuneProducts();
  int64_t PreparedRowBytes(const LinearWeight& weight) const;
  bool UsesLibrary(const LinearWeight& weight, int64_t rows) const;
  cuda::KvCache CacheOf(const KvLayerView& kv) const;
  void RotateAndStore(const StepPlan& plan, const RopeTable* table, TensorView x, int32_t num_heads,
                      int32_t num_q_heads, int32_t head_dim, const KvLayerView* kv);

  // Of the groups that the rank is in, which have all gone before it.
  std::shared_ptr<const nccl::Api> nccl_;
  std::unique_ptr<GroupWatch> watch_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<LibraryGemm> library_;
  const int terms_;  // 16-bit numbers that a number of x is a sum of, with such weights
  TensorView scratch_;
  Buffer bad_token_;  // on the device: an int32 that Embed sets
  DeviceSampler sampler_;
  // Of the step whose ops are being named.
  bool embedded_ = false;
  bool sampled_ = false;
  // A step whose ops are all enqueued.
  struct Sealed {
    StreamMark begin;  // both note the time
    StreamMark done;
    PinnedBuffer bad_token;
    bool begun = false;
    bool embedded = false;
    bool sampled = false;
  };
  std::array<Sealed, kMaxSteps> sealed_;  // a ring
  size_t oldest_sealed_ = 0;
  size_t num_sealed_ = 0;
  int64_t step_device_us_ = -1;
  ProfileRanges ranges_;
  const FileBytes* files_ = nullptr;
  int32_t max_sequences_ = 1;                         // of the largest plan
  std::vector<LibraryGemm::Product> library_shapes_;  // of the weights packed, each once
  int64_t widest_row_ = 1;                            // bytes of one prepared for them
  const std::shared_ptr<spdlog::logger> logger_;      // may be null
  const int load_threads_;                            // that read and form weights
  const bool use_graphs_;
  const bool batch_invariant_;    // many rows are multiplied as few are
  bool graphs_refused_ = false;   // and said so
  StepGraphs* graphs_ = nullptr;  // of the step whose ops are being named, if it has any
};

}  // namespace inferd
