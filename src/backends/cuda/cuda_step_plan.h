#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/step_graphs.h"
#include "backends/cuda/step_words.h"
#include "backends/host/host_step_plan.h"
#include "cuda/attention_work.h"

namespace inferd {

// A step in the device's memory: one array of words that stays there, of which the
// host sends those that changed. Its sizes, and so all addresses, are fixed at
// construction. The rank's thread.
class CudaStepPlan final : public HostStepPlan {
 public:
  // What it takes of memory and does not get is the device's error.
  CudaStepPlan(Device& device, int32_t max_tokens, int32_t max_sequences,
               int32_t max_blocks_per_sequence);
  // Of the device's memory: at construction, and what WorkFor takes for such heads and contexts.
  static int64_t DeviceBytes(int32_t max_tokens, int32_t max_sequences,
                             int32_t max_blocks_per_sequence);
  static int64_t WorkBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_context,
                           int32_t group, int32_t num_kv_heads);
  // Waits for the steps that were begun: they read what is let go of.
  ~CudaStepPlan() override;

  // Takes the step, padded to `rows` rows when that is more than it has: as many
  // sequences more, each of one token at position 0 in the padding block. Padding is
  // for steps whose sequences have one row each, all sampled.
  void Plan(const StepInputs& inputs, int32_t rows);

  // Takes a decode step of `rows` rows, all padding, that is not going to run: nothing is
  // sent. What the device has stays as it is.
  void PlanPadding(int32_t rows);

  // Of its decode steps; in the device's memory everything of a step stays in place.
  StepGraphs& graphs() { return graphs_; }
  // Whether each sequence has one row and all are sampled.
  static bool IsDecode(const StepInputs& inputs);

  bool is_decode() const { return is_decode_; }
  int32_t max_tokens() const { return max_tokens_; }
  int32_t max_sequences() const { return max_sequences_; }

  // Device addresses. Of padding the position is -1 and the context 0.
  const int32_t* ids() const { return At(0); }                 // [T]
  const int32_t* positions() const { return At(positions_); }  // [T]
  const int32_t* sequences() const { return At(sequences_); }  // [T] of each row
  const int32_t* samples() const { return At(samples_); }      // [samples]
  const int32_t* starts() const { return At(starts_); }        // [S + 1]
  const int32_t* contexts() const { return At(contexts_); }    // [S]
  const int32_t* tables() const { return At(tables_); }        // [S, table_stride]
  int32_t table_stride() const { return max_blocks_; }

  // What attention works through in a step, made by a kernel of the step; room for it
  // is taken once.
  struct AttentionWork {
    Buffer items;
    cuda::AttentionCounts* counts = nullptr;
    cuda::DecodeItem* decode = nullptr;
    cuda::PrefillItem* prefill = nullptr;
    int32_t* arrivals = nullptr;  // zeros between ops
    int32_t max_decode = 0;
    int32_t max_prefill = 0;
    int64_t num_arrivals = 0;
    int32_t group = 0;  // of the list: query heads to a kv head
    int32_t num_kv_heads = 0;
    bool ready = false;  // for the step and these heads
  };
  // With room for sequences of `block_size` tokens a block, and ready if the step has made it for
  // such heads; null when there is no room, which is then the device's error.
  AttentionWork* WorkFor(int32_t block_size, int32_t group, int32_t num_kv_heads) const;

  const StepWords& words() const { return words_; }

 private:
  // Of the parts of AttentionWork::items.
  struct WorkLayout {
    size_t decode;
    size_t prefill;
    size_t arrivals;
    size_t bytes;
  };
  static WorkLayout LayoutOf(int64_t decode, int64_t prefill, int64_t num_arrivals);
  const int32_t* At(int64_t offset) const { return words_.on_device() + offset; }
  void Send();
  void SetPadded(const StepInputs& inputs, int32_t rows);

  Device& device_;
  const int32_t max_tokens_;
  const int32_t max_sequences_;
  const int32_t max_blocks_;
  // Offsets in words.
  const int64_t positions_;
  const int64_t sequences_;
  const int64_t samples_;
  const int64_t starts_;
  const int64_t contexts_;
  const int64_t tables_;
  StepWords words_;
  bool is_decode_ = false;
  int32_t real_rows_ = 0;  // of a padded step, those that are not padding
  StepGraphs graphs_;
  mutable AttentionWork work_;  // shared by the ops of a step, which see a const plan
  // A padded step's inputs.
  std::vector<TokenId> pad_ids_;
  std::vector<int32_t> pad_positions_;
  std::vector<int32_t> pad_starts_;
  std::vector<int32_t> pad_contexts_;
  std::vector<BlockId> pad_tables_;
  std::vector<int32_t> pad_samples_;
};

}  // namespace inferd
