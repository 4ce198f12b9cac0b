#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/ops/load_threads.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"
#include "model/recycled_memory.h"
#include "model/shard_rules.h"
#include "model/tensor_slice.h"

namespace inferd::model {

// A linear layer as the backends take it, and the memory its decoded parts are
// in. What needs no decoding points into the checkpoint. Goes before its source.
struct SourcedLinear {
  RawLinear raw;
  Buffer data;
  Buffer scales;
  Buffer zeros;
};

// Reads the linear layers of a checkpoint, however it stores them. The
// checkpoint has been checked against the configuration and outlives the source.
// One thread.
class LinearSource {
 public:
  // `reads`: what has to be looked at is read from the files, and their mapping not touched.
  // `threads`: who reads and decodes; null: the caller.
  LinearSource(const QuantizationConfig& config, const Checkpoint& checkpoint, bool reads = false,
               LoadThreads* threads = nullptr)
      : config_(config),
        checkpoint_(checkpoint),
        files_(reads ? &checkpoint : nullptr),
        threads_(threads != nullptr ? *threads : caller_) {}
  LinearSource(const LinearSource&) = delete;
  LinearSource& operator=(const LinearSource&) = delete;

  // A block of the layer `name`, without the ".weight": only that is read. The block is
  // one that CheckBlock passed. FAILED_PRECONDITION when it holds values its scheme does
  // not allow, naming the tensor.
  StatusOr<SourcedLinear> Load(const std::string& name, const LinearBlock& block);
  // All of the layer.
  StatusOr<SourcedLinear> Load(const std::string& name);

 private:
  StatusOr<SourcedLinear> LoadFloat(const std::string& name, const LinearBlock& block);
  StatusOr<SourcedLinear> LoadInt8(const std::string& name, const LinearBlock& block);
  StatusOr<SourcedLinear> LoadFp8(const std::string& name, const LinearBlock& block);
  StatusOr<SourcedLinear> LoadInt4(const std::string& name, const LinearBlock& block, bool awq);
  // A block of a matrix. To look at: in memory that may be touched; else for ops, which read
  // files themselves.
  enum class Use : uint8_t { kForOps, kToLookAt };
  StatusOr<TensorSlice> Slice(const TensorView& matrix, int64_t row, int64_t rows, int64_t column,
                              int64_t columns, Use use);
  // Codes [out, in / 2] of a block of `qweight`.
  Status UnpackCodes(const TensorView& qweight, const LinearBlock& block, bool awq,
                     const TensorView& codes);
  Status UnpackZeroPoints(const std::string& name, const TensorView& points, bool awq,
                          const TensorView& zeros);
  // body(begin, end) over [0, outputs), a part at a time.
  Status ForOutputs(int64_t outputs, const std::function<Status(int64_t, int64_t)>& body);
  Status TakeScales(const std::string& name, const TensorView& stored, SourcedLinear* linear);

  const QuantizationConfig config_;
  const Checkpoint& checkpoint_;
  const FileBytes* const files_;  // null: the mapping is read
  RecycledMemory allocator_;
  NoLoadThreads caller_;
  LoadThreads& threads_;
};

WeightFormat FormatOf(DType dtype);                      // of f32, f16 and bf16
std::string_view WeightFormatName(WeightFormat format);  // "f32", "int4", …

}  // namespace inferd::model
