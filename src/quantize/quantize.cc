#include "inferd/quantize/quantize.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "inferd/model/memory_plan.h"
#include "quantize/awq_layer.h"
#include "quantize/awq_pack.h"
#include "quantize/calibration.h"
#include "quantize/checkpoint_writer.h"
#include "quantize/companion_files.h"
#include "quantize/layer_pass.h"
#include "quantize/output_directory.h"
#include "quantize/tensor_plan.h"

namespace inferd {
namespace {

namespace fs = std::filesystem;
using namespace quantize;  // NOLINT(google-build-using-namespace): its own room

template <typename T>
std::span<const std::byte> Bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// One run. One thread.
class Run {
 public:
  Run(const QuantizeOptions& options, const ModelConfig& config, const Checkpoint& checkpoint,
      CheckpointWriter& writer, Ops& ops)
      : options_(options), config_(config), checkpoint_(checkpoint), writer_(writer), ops_(ops) {}

  // Writes every tensor.
  Status All();

 private:
  Status Keep(const std::string& name);
  Status KeepAll(const std::vector<std::string>& names);
  Status WriteInt4(const std::string& name, const Matrix& weights, const float* clip);
  Status WriteInt8(const std::string& name, const Matrix& weights);
  Status WriteFp8(const std::string& name, const Matrix& weights);
  Status WriteHead();
  // A layer whose weights are rounded as they are.
  Status PlainLayer(int32_t layer);

  Status StartCalibration();
  Status AwqLayer(int32_t layer);
  StatusOr<LayerMatrices> ReadLayer(int32_t layer) const;
  StatusOr<StoredVector> ReadVector(const std::string& name) const;
  Status WriteStored(const std::string& name, const StoredVector& vector);

  const QuantizeOptions& options_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  CheckpointWriter& writer_;
  Ops& ops_;

  // int4-awq
  std::vector<std::vector<TokenId>> sequences_;
  int64_t rows_ = 0;           // tokens of all sequences
  std::vector<float> hidden_;  // [rows, hidden] what goes into the next layer
  std::unique_ptr<LayerPass> pass_;
};

Status Run::All() {
  const bool awq = options_.method == QuantizeMethod::kInt4Awq;
  INFERD_RETURN_IF_ERROR(KeepAll(OuterTensors(config_, options_.int8_head)));
  if (options_.int8_head) INFERD_RETURN_IF_ERROR(WriteHead());
  if (awq) INFERD_RETURN_IF_ERROR(StartCalibration());
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    INFERD_RETURN_IF_ERROR(awq ? AwqLayer(layer) : PlainLayer(layer));
    checkpoint_.ReleasePages();
    if (options_.progress) {
      options_.progress("layer " + std::to_string(layer + 1) + " of " +
                        std::to_string(config_.num_layers));
    }
  }
  return OkStatus();
}

Status Run::Keep(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const TensorView view, checkpoint_.View(name));
  return writer_.Write(name, {view.As<const std::byte>(), static_cast<size_t>(view.NumBytes())});
}

Status Run::KeepAll(const std::vector<std::string>& names) {
  for (const std::string& name : names) INFERD_RETURN_IF_ERROR(Keep(name));
  return OkStatus();
}

Status Run::WriteInt4(const std::string& name, const Matrix& weights, const float* clip) {
  Int4Matrix rounded;
  if (!RoundInt4(weights, options_.group_size, clip, options_.threads, &rounded)) {
    return FailedPreconditionError("layer \"" + name + "\": its weights are too large for F16");
  }
  const AwqTensors packed = PackAwq(rounded);
  INFERD_RETURN_IF_ERROR(writer_.Write(name + ".qweight", Bytes(packed.qweight)));
  INFERD_RETURN_IF_ERROR(writer_.Write(name + ".qzeros", Bytes(packed.qzeros)));
  return writer_.Write(name + ".scales", Bytes(packed.scales));
}

Status Run::WriteInt8(const std::string& name, const Matrix& weights) {
  const Int8Matrix rounded = RoundInt8(weights, options_.threads);
  INFERD_RETURN_IF_ERROR(writer_.Write(name + ".weight", Bytes(rounded.codes)));
  return writer_.Write(name + ".weight_scale", Bytes(rounded.scales));
}

Status Run::WriteFp8(const std::string& name, const Matrix& weights) {
  const Fp8Matrix rounded = RoundFp8(weights, options_.threads);
  INFERD_RETURN_IF_ERROR(writer_.Write(name + ".weight", Bytes(rounded.codes)));
  return writer_.Write(name + ".weight_scale", Bytes(rounded.scales));
}

Status Run::WriteHead() {
  INFERD_ASSIGN_OR_RETURN(
      const Matrix weights,
      ReadMatrix(checkpoint_, config_.tie_word_embeddings ? "model.embed_tokens" : "lm_head"));
  return WriteInt8("lm_head", weights);
}

Status Run::PlainLayer(int32_t layer) {
  INFERD_RETURN_IF_ERROR(KeepAll(LayerVectors(config_, layer)));
  for (const std::string_view linear : kLinears) {
    const std::string name = LayerPrefix(layer) + std::string(linear);
    INFERD_ASSIGN_OR_RETURN(const Matrix weights, ReadMatrix(checkpoint_, name));
    switch (options_.method) {
      case QuantizeMethod::kInt8:
        INFERD_RETURN_IF_ERROR(WriteInt8(name, weights));
        break;
      case QuantizeMethod::kFp8:
        INFERD_RETURN_IF_ERROR(WriteFp8(name, weights));
        break;
      case QuantizeMethod::kInt4Rtn:
      case QuantizeMethod::kInt4Awq:
        INFERD_RETURN_IF_ERROR(WriteInt4(name, weights, nullptr));
        break;
    }
  }
  return OkStatus();
}

// ---- int4-awq ----

Status Run::StartCalibration() {
  INFERD_ASSIGN_OR_RETURN(sequences_, CalibrationTokens(options_.input, options_.calibration,
                                                        config_.max_context, config_.vocab_size));
  size_t longest = 0;
  for (const std::vector<TokenId>& tokens : sequences_) {
    rows_ += static_cast<int64_t>(tokens.size());
    longest = std::max(longest, tokens.size());
  }
  if (options_.progress) {
    options_.progress("calibration: " + std::to_string(rows_) + " tokens in " +
                      std::to_string(sequences_.size()) + " sequences");
  }
  INFERD_ASSIGN_OR_RETURN(
      pass_, LayerPass::Create(config_, checkpoint_, static_cast<int32_t>(longest), ops_));
  hidden_.resize(static_cast<size_t>(rows_ * config_.hidden_size));
  float* at = hidden_.data();
  for (const std::vector<TokenId>& tokens : sequences_) {
    INFERD_RETURN_IF_ERROR(pass_->Embed(tokens, at));
    at += static_cast<int64_t>(tokens.size()) * config_.hidden_size;
  }
  return OkStatus();
}

StatusOr<StoredVector> Run::ReadVector(const std::string& name) const {
  StoredVector vector;
  INFERD_ASSIGN_OR_RETURN(const TensorView view, checkpoint_.View(name));
  vector.dtype = view.dtype;
  INFERD_ASSIGN_OR_RETURN(vector.values, ReadFloats(checkpoint_, name));
  return vector;
}

Status Run::WriteStored(const std::string& name, const StoredVector& vector) {
  std::string bytes;
  for (const float value : vector.values) AppendAs(vector.dtype, value, &bytes);
  return writer_.Write(name, std::as_bytes(std::span(bytes)));
}

// The matrices in the order of kLinears.
std::array<Matrix*, 7> Matrices(LayerMatrices& layer) {
  return {&layer.q, &layer.k, &layer.v, &layer.output, &layer.gate, &layer.up, &layer.down};
}

StatusOr<LayerMatrices> Run::ReadLayer(int32_t layer) const {
  const std::string prefix = LayerPrefix(layer);
  LayerMatrices read;
  const std::array<Matrix*, 7> matrices = Matrices(read);
  for (size_t i = 0; i < matrices.size(); ++i) {
    INFERD_ASSIGN_OR_RETURN(*matrices[i],
                            ReadMatrix(checkpoint_, prefix + std::string(kLinears[i])));
  }
  INFERD_ASSIGN_OR_RETURN(read.attention_norm, ReadVector(prefix + "input_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(read.mlp_norm, ReadVector(prefix + "post_attention_layernorm.weight"));
  if (config_.qkv_bias) {
    INFERD_ASSIGN_OR_RETURN(read.v_bias, ReadVector(prefix + "self_attn.v_proj.bias"));
  }
  return read;
}

Status Run::AwqLayer(int32_t layer) {
  const std::string prefix = LayerPrefix(layer);
  LayerInputs inputs(config_, rows_);
  {
    INFERD_ASSIGN_OR_RETURN(const LayerWeights weights, pass_->Load(prefix));
    float* at = hidden_.data();
    for (const std::vector<TokenId>& tokens : sequences_) {
      INFERD_RETURN_IF_ERROR(pass_->Run(weights, tokens, at, &inputs));
      at += static_cast<int64_t>(tokens.size()) * config_.hidden_size;
    }
  }
  INFERD_ASSIGN_OR_RETURN(LayerMatrices matrices, ReadLayer(layer));
  const SearchOptions search{options_.group_size, options_.threads};
  OutputError error(ops_, static_cast<int64_t>(sequences_.front().size()));
  INFERD_RETURN_IF_ERROR(ScaleLayer(config_, search, error, inputs, matrices));

  const std::array<const InputSample*, 7> samples = {
      &inputs.qkv,     &inputs.qkv,     &inputs.qkv, &inputs.output,
      &inputs.gate_up, &inputs.gate_up, &inputs.down};
  const std::array<Matrix*, 7> linears = Matrices(matrices);
  for (size_t i = 0; i < linears.size(); ++i) {
    // Keys and queries are multiplied with each other: cutting their largest
    // values costs more than their own outputs show.
    std::vector<float> clip;
    if (linears[i] != &matrices.q && linears[i] != &matrices.k) {
      INFERD_ASSIGN_OR_RETURN(clip, SearchClip(*linears[i], *samples[i], search, error));
    }
    INFERD_RETURN_IF_ERROR(WriteInt4(prefix + std::string(kLinears[i]), *linears[i],
                                     clip.empty() ? nullptr : clip.data()));
  }
  for (const std::string& name : LayerVectors(config_, layer)) {
    const std::string_view end = std::string_view(name).substr(prefix.size());
    if (end == "input_layernorm.weight") {
      INFERD_RETURN_IF_ERROR(WriteStored(name, matrices.attention_norm));
    } else if (end == "post_attention_layernorm.weight") {
      INFERD_RETURN_IF_ERROR(WriteStored(name, matrices.mlp_norm));
    } else if (end == "self_attn.v_proj.bias") {
      INFERD_RETURN_IF_ERROR(WriteStored(name, matrices.v_bias));
    } else {
      INFERD_RETURN_IF_ERROR(Keep(name));
    }
  }
  return OkStatus();
}

// Everything that can be checked before anything is written.
Status CheckInput(const QuantizeOptions& options, const ModelConfig& config,
                  const Checkpoint& checkpoint, const Ops& ops) {
  if (config.quantization.method != QuantMethod::kNone) {
    return FailedPreconditionError("the checkpoint is quantised already (" +
                                   std::string(QuantMethodName(config.quantization.method)) + ")");
  }
  MemoryRequest smallest;
  smallest.max_model_len = std::min(16, config.max_context);
  smallest.max_running = 1;
  smallest.max_batched_tokens = 16;
  std::vector<std::string> notes;
  INFERD_RETURN_IF_ERROR(PlanMemory(config, checkpoint, ops, smallest, &notes).status());
  for (const std::string& note : notes) {
    if (options.progress) options.progress(note);
  }
  if (options.method == QuantizeMethod::kInt8 || options.method == QuantizeMethod::kFp8) {
    return OkStatus();
  }
  return CheckGroupSize(config, options.group_size);
}

Status CheckSpace(const OutputDirectory& output, const std::vector<TensorSpec>& tensors) {
  uint64_t bytes = 0;  // what is copied beside them is little
  for (const TensorSpec& tensor : tensors) bytes += static_cast<uint64_t>(tensor.Bytes());
  std::error_code error;
  const fs::space_info space = fs::space(output.path(), error);
  if (error || space.available >= bytes) return OkStatus();
  return ResourceExhaustedError("the output needs " + std::to_string((bytes >> 20) + 1) +
                                " MiB, the disk has " + std::to_string(space.available >> 20) +
                                " MiB left");
}

Status Quantize(const QuantizeOptions& options, Ops& ops) {
  INFERD_RETURN_IF_ERROR(CheckPlace(options.output));
  INFERD_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(options.input));
  INFERD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.input));
  INFERD_RETURN_IF_ERROR(CheckInput(options, config, checkpoint, ops));
  INFERD_ASSIGN_OR_RETURN(const std::vector<TensorSpec> tensors,
                          PlanTensors(config, checkpoint, options));
  INFERD_ASSIGN_OR_RETURN(OutputDirectory output, OutputDirectory::Create(options.output));
  INFERD_RETURN_IF_ERROR(CheckSpace(output, tensors));
  INFERD_RETURN_IF_ERROR(WriteConfig(options, output.path()));
  INFERD_RETURN_IF_ERROR(CopyCompanions(options.input, output.path()));
  INFERD_ASSIGN_OR_RETURN(
      CheckpointWriter writer,
      CheckpointWriter::Create(output.path(), tensors, options.max_shard_bytes));
  INFERD_RETURN_IF_ERROR(Run(options, config, checkpoint, writer, ops).All());
  INFERD_RETURN_IF_ERROR(writer.Finish());
  return output.Commit();
}

}  // namespace

Status QuantizeCheckpoint(const QuantizeOptions& options, Ops& ops) {
  try {
    return Quantize(options, ops);
  } catch (const std::bad_alloc&) {
    return ResourceExhaustedError("there is not enough memory");
  } catch (const std::exception& error) {  // of the file system or the JSON library
    return InternalError(error.what());
  }
}

}  // namespace inferd
