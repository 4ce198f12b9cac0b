#include "model/tensor_list.h"

#include <array>
#include <initializer_list>
#include <unordered_set>

#include "model/json.h"
#include "model/quantization_tensors.h"

namespace inferd::model {
namespace {

constexpr size_t kMostNamed = 5;

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Tensors that say the checkpoint computes something else.
bool SignalsUnsupported(std::string_view name) {
  for (const std::string_view end : {".qweight", ".qzeros", ".scales", ".g_idx", ".weight_scale",
                                     ".weight_scale_inv", ".weight_zero_point", ".input_scale",
                                     ".absmax", ".quant_map", ".weight_packed", "_proj.bias"}) {
    if (EndsWith(name, end)) return true;
  }
  for (const std::string_view part : {"lora_", ".experts.", ".block_sparse_moe."}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

// What counts as one way of storing a linear layer.
std::string StoredForm(const QuantizationConfig& quantization, const Checkpoint& checkpoint,
                       const std::string& name) {
  const QuantMethod method = StoredAs(quantization, checkpoint, name);
  if (method != QuantMethod::kNone) return std::string(QuantMethodName(method));
  return std::string(checkpoint.Find(name + ".weight")->dtype);
}

// Refuses `parts` of `prefix` unless they are stored in one way: they become one
// matrix.
Status CheckJoined(const QuantizationConfig& quantization, const Checkpoint& checkpoint,
                   const std::string& prefix, std::initializer_list<std::string_view> parts) {
  std::string first;
  for (const std::string_view part : parts) {
    const std::string name = prefix + std::string(part);
    const std::string form = StoredForm(quantization, checkpoint, name);
    if (first.empty()) first = form;
    if (form != first) {
      return UnimplementedError("layer \"" + name + "\": stored as " + form +
                                ", its neighbours as " + first);
    }
  }
  return OkStatus();
}

Status CheckTensor(const ExpectedTensor& expected, const TensorFacts& facts,
                   const ModelConfig& config, const Checkpoint& checkpoint) {
  const std::string where = "tensor \"" + expected.name + "\": ";
  if (facts.shape != expected.shape) {
    return FailedPreconditionError(where + "shape " + ShapeText(facts.shape) +
                                   ", the configuration needs " + ShapeText(expected.shape));
  }
  // The views check alignment, and that of floats the dtype.
  if (expected.integer.empty()) return checkpoint.View(expected.name).status();
  if (facts.dtype != expected.integer) {
    return FailedPreconditionError(where + "dtype " + std::string(facts.dtype) +
                                   ", its quantisation needs " + std::string(expected.integer));
  }
  INFERD_RETURN_IF_ERROR(checkpoint.IntegerView(expected.name).status());
  if (expected.role != TensorRole::kGroupIndex) return OkStatus();
  return CheckGroupIndex(config.quantization, checkpoint, expected.name);
}

// Whether `name` is a bias of zeros beside a quantised layer: some writers store
// one for every layer.
bool IsNeedlessBias(const ModelConfig& config, const Checkpoint& checkpoint,
                    std::string_view name) {
  constexpr std::string_view kEnd = ".bias";
  if (!EndsWith(name, "_proj.bias")) return false;
  const std::string_view layer = name.substr(0, name.size() - kEnd.size());
  if (StoredAs(config.quantization, checkpoint, layer) == QuantMethod::kNone) return false;
  const StatusOr<TensorView> bias = checkpoint.View(name);
  if (!bias.ok()) return false;
  // Zero, in every float type, is all bits zero but the sign.
  const auto* bytes = bias->As<const uint8_t>();
  const int64_t size = DTypeSize(bias->dtype);
  for (int64_t i = 0; i < bias->NumBytes(); ++i) {
    const uint8_t value = i % size == size - 1 ? bytes[i] & 0x7f : bytes[i];
    if (value != 0) return false;
  }
  return true;
}

Status NameMissing(const std::vector<std::string>& missing) {
  std::string text = "the checkpoint lacks " + std::to_string(missing.size()) + " tensors: ";
  for (size_t i = 0; i < missing.size() && i < kMostNamed; ++i) {
    text += (i > 0 ? ", " : "") + missing[i];
  }
  if (missing.size() > kMostNamed) text += ", ...";
  return FailedPreconditionError(text);
}

}  // namespace

std::string LayerPrefix(int32_t layer) { return "model.layers." + std::to_string(layer) + "."; }

StatusOr<std::vector<ExpectedTensor>> ExpectedTensors(const ModelConfig& c,
                                                      const Checkpoint& checkpoint) {
  const int64_t hidden = c.hidden_size;
  const int64_t q = int64_t{c.num_heads} * c.head_dim;
  const int64_t kv = int64_t{c.num_kv_heads} * c.head_dim;
  const int64_t ffn = c.intermediate_size;
  std::vector<ExpectedTensor> all;
  Status status;
  std::string prefix;
  int32_t in_layer = -1;
  const auto vector = [&](std::string_view name, int64_t size) {
    all.push_back({prefix + std::string(name), {size}, TensorRole::kVector});
    all.back().layer = in_layer;
  };
  const auto linear = [&](std::string_view name, LinearRole role, int64_t out, int64_t in) {
    if (!status.ok()) return;
    const size_t first = all.size();
    status = AddLinear(c.quantization, checkpoint, prefix + std::string(name), out, in, &all);
    for (size_t i = first; i < all.size(); ++i) {
      all[i].layer = in_layer;
      all[i].linear = role;
      all[i].out = out;
      all[i].in = in;
    }
  };
  all.push_back({std::string(kEmbedding), {c.vocab_size, hidden}, TensorRole::kMatrix});
  for (int32_t layer = 0; layer < c.num_layers && status.ok(); ++layer) {
    prefix = LayerPrefix(layer);
    in_layer = layer;
    vector("input_layernorm.weight", hidden);
    linear("self_attn.q_proj", LinearRole::kQuery, q, hidden);
    linear("self_attn.k_proj", LinearRole::kKeyValue, kv, hidden);
    linear("self_attn.v_proj", LinearRole::kKeyValue, kv, hidden);
    if (c.qkv_bias) {
      vector("self_attn.q_proj.bias", q);
      vector("self_attn.k_proj.bias", kv);
      vector("self_attn.v_proj.bias", kv);
    }
    if (c.qk_norm) {
      vector("self_attn.q_norm.weight", c.head_dim);
      vector("self_attn.k_norm.weight", c.head_dim);
    }
    linear("self_attn.o_proj", LinearRole::kOutput, hidden, q);
    if (c.output_bias) vector("self_attn.o_proj.bias", hidden);
    vector("post_attention_layernorm.weight", hidden);
    linear("mlp.gate_proj", LinearRole::kGateUp, ffn, hidden);
    linear("mlp.up_proj", LinearRole::kGateUp, ffn, hidden);
    linear("mlp.down_proj", LinearRole::kDown, hidden, ffn);
  }
  prefix.clear();
  in_layer = -1;
  vector(kFinalNorm, hidden);
  if (!c.tie_word_embeddings) linear("lm_head", LinearRole::kHead, c.vocab_size, hidden);
  INFERD_RETURN_IF_ERROR(status);
  return all;
}

Status CheckShard(const ModelShard& shard, const Checkpoint& checkpoint) {
  if (shard.place.shape.tp() == 1) return OkStatus();
  INFERD_ASSIGN_OR_RETURN(const std::vector<ExpectedTensor> expected,
                          ExpectedTensors(shard.whole, checkpoint));
  for (const ExpectedTensor& e : expected) {
    if (e.in == 0) continue;
    const std::string_view name = std::string_view(e.name).substr(0, e.name.rfind('.'));
    INFERD_RETURN_IF_ERROR(CheckBlock(shard.whole.quantization, checkpoint, name,
                                      BlockOf(shard, e.linear, e.out, e.in), e.in));
  }
  return OkStatus();
}

Status CheckTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                    std::vector<std::string>* notes) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<ExpectedTensor> expected,
                          ExpectedTensors(config, checkpoint));
  std::unordered_set<std::string_view> known;
  std::vector<std::string> missing;
  for (const ExpectedTensor& e : expected) {
    known.insert(e.name);
    const TensorFacts* facts = checkpoint.Find(e.name);
    if (facts == nullptr) {
      missing.push_back(e.name);
      continue;
    }
    INFERD_RETURN_IF_ERROR(CheckTensor(e, *facts, config, checkpoint));
  }
  std::vector<std::string_view> extra;
  for (const std::string_view name : checkpoint.Names()) {
    if (known.count(name) != 0 || IsNeedlessBias(config, checkpoint, name)) continue;
    if (SignalsUnsupported(name)) {
      return UnimplementedError("tensor \"" + Printable(name) +
                                "\" belongs to something this architecture does not support");
    }
    // A copy of the embedding beside a tied head, and tables older checkpoints
    // carry along, are usual.
    if (name == kHead || EndsWith(name, "rotary_emb.inv_freq")) continue;
    extra.push_back(name);
  }
  if (!missing.empty()) return NameMissing(missing);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = LayerPrefix(layer);
    const auto joined = [&](std::initializer_list<std::string_view> parts) {
      return CheckJoined(config.quantization, checkpoint, prefix, parts);
    };
    INFERD_RETURN_IF_ERROR(joined({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}));
    INFERD_RETURN_IF_ERROR(joined({"mlp.gate_proj", "mlp.up_proj"}));
  }
  if (!extra.empty()) {
    notes->push_back(std::to_string(extra.size()) + " tensors of the checkpoint are not used (" +
                     Printable(extra.front()) + (extra.size() > 1 ? ", ...)" : ")"));
  }
  return OkStatus();
}

}  // namespace inferd::model
