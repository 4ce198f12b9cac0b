#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/comm/communicator.h"
#include "inferd/comm/device_group.h"
#include "inferd/ops/device_info.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/load_threads.h"
#include "inferd/ops/sampling.h"
#include "inferd/ops/step.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// A rank's part of a model and the largest steps of it: what takes memory.
struct ModelFootprint {
  int64_t bytes = 0;            // that the allocator is asked for, but for the KV cache
  int64_t embedding_bytes = 0;  // of its rows of the table, in the checkpoint
  int32_t vocab_size = 0;       // that is drawn from; 0: this rank draws nothing
  int32_t num_heads = 0;        // query heads
  KvLayerSpec kv;
  int32_t max_tokens = 0;  // as MakeStepPlan has them
  int32_t max_sequences = 0;
  int32_t max_blocks_per_sequence = 0;
};

// The op set of a backend. One rank thread at a time. Compute ops are enqueued
// in order, never allocate, never wait and never fail visibly: an error sticks
// and Finish reports it. Shapes are the caller's promise (checked).
//
// Activations are rows of f32 on this op set: [num_tokens, features], dense.
// In every op an output row depends on its own input row and sequence only, bit
// for bit: not on the number of rows, their order, or how a prompt was chunked.
class Ops {
 public:
  virtual ~Ops() = default;

  virtual std::string_view name() const = 0;
  // Memory of the device. The host reaches it through the three calls below only.
  virtual Allocator& allocator() = 0;
  // What it computes on, as of now.
  virtual DeviceInfo DescribeDevice() const { return {}; }

  // ---- the allocator's memory; in order with the ops ----
  // Sets `bytes` bytes to `value`.
  virtual void Fill(void* data, uint8_t value, size_t bytes);
  // `host` is the caller's again when this returns.
  virtual void CopyIn(void* data, const void* host, size_t bytes);
  // Waits for what was enqueued before. An error is that of Finish, which then has
  // been called; `host` holds nothing useful.
  virtual Status CopyOut(void* host, const void* data, size_t bytes);

  // ---- at load ----
  // Views given to Pack, PackVector and PackEmbedding may be of a mapped file whose pages
  // are better not touched: ops that copy them anyway read them with `files`. Null: none
  // are from now on, which is how it begins. It outlives its use.
  virtual void SetFiles(const FileBytes* /*files*/) {}
  // Whether they do so.
  virtual bool ReadsFiles() const { return false; }
  // Threads for whoever reads and decodes what Pack is to get; null: there are none but the
  // caller. Good from SetFiles with files to SetFiles without.
  virtual LoadThreads* load_threads() { return nullptr; }
  virtual bool Supports(WeightFormat format) const = 0;
  // Joins `parts` (equal in_features and format) along out_features, so that
  // e.g. q, k and v become one matrix, and puts them in the backend's form.
  // `bias`: f32/f16/bf16 vectors, one per part, or empty.
  virtual StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                                      std::span<const TensorView> bias) = 0;
  virtual StatusOr<VectorWeight> PackVector(const TensorView& host) = 0;
  // Names the form that Pack and PackVector give weights. Bytes of weights packed
  // where the name was the same may be used again. Empty: they may not be kept.
  virtual std::string PackedLayout() const { return {}; }
  // Whether the bytes of `weight` fit its sizes, so that Linear stays within them
  // whatever they hold otherwise. For weights that were kept.
  virtual bool Accepts(const LinearWeight& /*weight*/) const { return false; }
  // `host` outlives the table.
  virtual StatusOr<EmbeddingTable> PackEmbedding(const TensorView& host) = 0;
  // Whether tables take memory of the device, so that ranks that share a vocabulary had
  // better keep a part of it each, and Embed takes a part. Where a table is only mapped,
  // the rows that are read are all it costs, and every rank can as well map all of it.
  virtual bool SplitsEmbedding() const { return false; }
  // Whether rows of a matrix that was packed in this format can be read again (TableOf).
  virtual bool ReadsRows(WeightFormat /*format*/) const { return false; }
  // The matrix that `head` was packed from, as a table whose rows Embed takes out of `head`,
  // bit for bit those it was packed from. UNIMPLEMENTED unless ReadsRows; the memory of
  // `head` outlives the table.
  virtual StatusOr<EmbeddingTable> TableOf(const LinearWeight& /*head*/) const {
    return UnimplementedError("rows of packed weights are not read here");
  }
  // Host floats to the device.
  virtual StatusOr<Buffer> Upload(std::span<const float> host) = 0;
  virtual int64_t KvBytesPerBlock(const KvLayerSpec& spec) const = 0;
  // An empty plan able to hold any step within these bounds.
  virtual std::unique_ptr<StepPlan> MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                                 int32_t max_blocks_per_sequence) = 0;
  // Bytes of scratch memory the ops want, given once through SetScratch.
  virtual int64_t ScratchBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_features,
                               int64_t vocab_size) const = 0;
  virtual void SetScratch(TensorView scratch) = 0;
  // Bytes that the allocator takes beside those it is asked for by a model that is loaded and
  // serves: at most so many, whatever the steps.
  virtual int64_t OverheadBytes(const ModelFootprint& /*model*/) const { return 0; }
  // Takes that much memory at once; the allocator then takes no other. Before the first
  // allocation. RESOURCE_EXHAUSTED when there is not so much.
  virtual Status Reserve(int64_t /*bytes*/) { return OkStatus(); }
  // Whether memory is there from the time it is allocated, not from its first use.
  virtual bool MemoryIsResident() const { return false; }

  // The ranks of `host` again, for what is in the allocator's memory: collectives that are
  // enqueued among the ops. Null where ops are done when they return, so that `host`
  // itself reaches their results. Says nothing to the other ranks (DeviceGroup::Connect
  // does); `host` and `clock` outlive the group. UNAVAILABLE or FAILED_PRECONDITION when
  // what it takes is not installed.
  virtual StatusOr<std::unique_ptr<DeviceGroup>> MakeGroup(Communicator& host,
                                                           const DeviceGroupOptions& options,
                                                           const Clock& clock);

  // ---- per step ----
  virtual void PlanStep(const StepInputs& inputs, StepPlan* plan) = 0;
  // The ops named from here on are those of this layer of the rank: for profilers.
  virtual void BeginLayer(int32_t /*layer*/) {}
  // out[t] = table[token_ids[t]]                              out [T, hidden]
  // With a part of a table: zeros for a token whose row is in another part.
  virtual void Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) = 0;
  // out = x / sqrt(mean(x^2) + eps) * weight                  x, out [T, n]; may alias
  virtual void RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) = 0;
  // The same over each of the heads [first_head, first_head + num_heads) of a
  // row on its own, in place; weight of head_dim.             x [T, heads * head_dim]
  virtual void HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                           const VectorWeight& weight, float eps) = 0;
  // x += y                                                    [T, n]
  virtual void Add(TensorView x, TensorView y) = 0;
  // out = x W^T + bias                                        x [T, in], out [T, out]
  // With bf16 weights a backend made so (Activations) rounds x to bf16, nearest even.
  // Then denormal products and sums may count as zero.
  // With integer weights x is rounded to 8 bits as well, a row at a time (kInt8)
  // or a row's group at a time (kInt4): m = max|x|, q = nearest-even(x * (127 / m)),
  // x ~ q * (m / 127), all zero for m = 0. The products of q and w are summed in
  // integers, exactly, and then scaled; groups are added in their order in f32.
  // A NaN or an infinity in a row gives NaN in all of the row's outputs.
  // With kFp8 weights x is rounded to E4M3, a row's group at a time: m = max|x|,
  // q = E4M3(x * (448 / m)), x ~ q * (m / 448), all zero for m = 0 or so small that the
  // factor overflows; NaN and infinity as above. The products of q and w are summed in
  // f32 group by group, and then scaled. With kFp8Weights x is what it is with bf16 weights.
  virtual void Linear(TensorView x, const LinearWeight& weight, TensorView out) = 0;
  // out = silu(gate) * up, gate_up = [gate | up]              gate_up [T, 2n], out [T, n]
  virtual void SiluMul(TensorView gate_up, TensorView out) = 0;
  // Rotates the first `num_heads` heads of each row of x by the row's position,
  // in place.                                                 x [T, >= num_heads * head_dim]
  virtual void Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
                    int32_t head_dim) = 0;
  // Writes K and V of each row to its place in the cache. qkv rows are
  // [q heads | k heads | v heads].                            qkv [T, (hq + 2 hk) * d]
  virtual void AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                        const KvLayerView& kv) = 0;
  // Causal attention of the q heads of qkv over the cache, scaled by `scale`;
  // q head h reads kv head h / (hq / hk).                     out [T, hq * d]
  virtual void Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                         const KvLayerView& kv, float scale, TensorView out) = 0;
  // out[i] = x[plan's sample_rows[i]]                         out [num_sample_rows, n]
  virtual void GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) = 0;
  // to[t][to_column + i] = from[t][from_column + i] for i < columns
  //                                                           from [T, n], to [T, m]
  virtual void CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                           int64_t columns) = 0;
  // One token per row of logits [rows.size(), vocab]; the logits are overwritten. A plan
  // may have given the model more rows than it was asked for: those behind rows.size()
  // are padding. `rows` and what it points to are the op's until Finish or SealStep, `out`
  // until Finish or FinishStep.
  virtual void Sample(TensorView logits, std::span<const SampleRow> rows,
                      std::span<SampleOutput> out) = 0;
  // Waits for everything enqueued; the first error since the last call. No step is under
  // way then.
  virtual Status Finish() = 0;

  // ---- steps that overlap, where MaxSteps() > 1 ----
  // How many steps may be under way: sealed, and not finished yet. 1: a step is finished
  // before the next one is planned.
  virtual int MaxSteps() const { return 1; }
  // All ops of the step are named; another may be planned. At most one Sample a step.
  // Never waits.
  virtual void SealStep() {}
  // Whether FinishStep would not wait.
  virtual bool StepIsDone() { return true; }
  // Waits for the oldest step under way: what it drew is in the `out` of its Sample. The
  // first error since the last call.
  virtual Status FinishStep() { return Finish(); }
  // What a device took for the step that was finished last, from its first work to its last,
  // in microseconds; -1: not known.
  virtual int64_t StepDeviceUs() const { return -1; }

  // After a step's ops up to the logits have been named: whether none of them is enqueued and all
  // have to be named once more, with the same plan. At most once a step.
  virtual bool MustNameAgain() { return false; }

  // ---- steps prepared before they are asked for, optional ----
  // Plans a step that is only prepared: its ops, up to the logits, are named as ever, and
  // nothing is computed; EndPreparing follows. Steps may be under way. False when nothing is
  // left to prepare, or nothing can be before a step has run.
  virtual bool PlanPreparing(StepPlan* /*plan*/) { return false; }
  virtual void EndPreparing() {}

  // ---- fused, optional: the defaults are compositions of the above ----
  // x += y; out = RmsNorm(x).
  virtual void AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                          TensorView out);
  // y summed over the ranks of `group`; x += y; out = RmsNorm(x). An error is the group's.
  virtual Status AllReduceAddRmsNorm(Communicator& group, TensorView x, TensorView y,
                                     const VectorWeight& weight, float eps, TensorView out);
  // Rope on the q and k heads, then AppendKv.
  virtual void RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                            int32_t num_q_heads, const KvLayerView& kv);
};

}  // namespace inferd
