#include "model/tensor_list.h"

#include <array>
#include <initializer_list>
#include <unordered_set>

#include "model/json.h"

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
  for (const std::string_view end :
       {".qweight", ".qzeros", ".scales", ".g_idx", ".weight_scale", ".weight_scale_inv",
        ".input_scale", ".absmax", ".quant_map", ".weight_packed", "_proj.bias"}) {
    if (EndsWith(name, end)) return true;
  }
  for (const std::string_view part : {"lora_", ".experts.", ".block_sparse_moe."}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

// Refuses `parts` of `prefix` unless they have one dtype: they become one matrix.
Status CheckJoined(const Checkpoint& checkpoint, const std::string& prefix,
                   std::initializer_list<std::string_view> parts) {
  std::string_view first;
  for (const std::string_view part : parts) {
    const std::string name = prefix + std::string(part) + ".weight";
    const std::string_view dtype = checkpoint.Find(name)->dtype;
    if (first.empty()) first = dtype;
    if (dtype != first) {
      return UnimplementedError("tensor \"" + name + "\": dtype " + std::string(dtype) +
                                " differs from its neighbours' " + std::string(first));
    }
  }
  return OkStatus();
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

std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& c) {
  const int64_t hidden = c.hidden_size;
  const int64_t q = int64_t{c.num_heads} * c.head_dim;
  const int64_t kv = int64_t{c.num_kv_heads} * c.head_dim;
  const int64_t ffn = c.intermediate_size;
  std::vector<ExpectedTensor> all;
  all.push_back({std::string(kEmbedding), {c.vocab_size, hidden}});
  for (int32_t layer = 0; layer < c.num_layers; ++layer) {
    const std::string prefix = LayerPrefix(layer);
    const auto need = [&](std::string_view name, std::vector<int64_t> shape) {
      all.push_back({prefix + std::string(name), std::move(shape)});
    };
    need("input_layernorm.weight", {hidden});
    need("self_attn.q_proj.weight", {q, hidden});
    need("self_attn.k_proj.weight", {kv, hidden});
    need("self_attn.v_proj.weight", {kv, hidden});
    if (c.qkv_bias) {
      need("self_attn.q_proj.bias", {q});
      need("self_attn.k_proj.bias", {kv});
      need("self_attn.v_proj.bias", {kv});
    }
    if (c.qk_norm) {
      need("self_attn.q_norm.weight", {c.head_dim});
      need("self_attn.k_norm.weight", {c.head_dim});
    }
    need("self_attn.o_proj.weight", {hidden, q});
    if (c.output_bias) need("self_attn.o_proj.bias", {hidden});
    need("post_attention_layernorm.weight", {hidden});
    need("mlp.gate_proj.weight", {ffn, hidden});
    need("mlp.up_proj.weight", {ffn, hidden});
    need("mlp.down_proj.weight", {hidden, ffn});
  }
  all.push_back({std::string(kFinalNorm), {hidden}});
  if (!c.tie_word_embeddings) all.push_back({std::string(kHead), {c.vocab_size, hidden}});
  return all;
}

Status CheckTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                    std::vector<std::string>* notes) {
  const std::vector<ExpectedTensor> expected = ExpectedTensors(config);
  std::unordered_set<std::string_view> known;
  std::vector<std::string> missing;
  for (const ExpectedTensor& e : expected) {
    known.insert(e.name);
    const TensorFacts* facts = checkpoint.Find(e.name);
    if (facts == nullptr) {
      missing.push_back(e.name);
      continue;
    }
    if (facts->shape != e.shape) {
      return FailedPreconditionError("tensor \"" + e.name + "\": shape " + ShapeText(facts->shape) +
                                     ", the configuration needs " + ShapeText(e.shape));
    }
    // The view checks dtype and alignment.
    INFERD_RETURN_IF_ERROR(checkpoint.View(e.name).status());
  }
  std::vector<std::string_view> extra;
  for (const std::string_view name : checkpoint.Names()) {
    if (known.count(name) != 0) continue;
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
    INFERD_RETURN_IF_ERROR(CheckJoined(
        checkpoint, prefix, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}));
    INFERD_RETURN_IF_ERROR(CheckJoined(checkpoint, prefix, {"mlp.gate_proj", "mlp.up_proj"}));
  }
  if (!extra.empty()) {
    notes->push_back(std::to_string(extra.size()) + " tensors of the checkpoint are not used (" +
                     Printable(extra.front()) + (extra.size() > 1 ? ", ...)" : ")"));
  }
  return OkStatus();
}

}  // namespace inferd::model
