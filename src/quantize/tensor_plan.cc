#include "quantize/tensor_plan.h"

#include <numeric>

namespace inferd::quantize {
namespace {

constexpr int64_t kSmallestGroup = 32;  // what the kernels and the loader take
constexpr int64_t kPerWord = 8;         // 4-bit values in an I32

void AddLinear(const std::string& name, int64_t out, int64_t in, QuantizeMethod method,
               int64_t group, std::vector<TensorSpec>* all) {
  if (method == QuantizeMethod::kInt8 || method == QuantizeMethod::kFp8) {
    all->push_back(
        {name + ".weight", method == QuantizeMethod::kInt8 ? "I8" : "F8_E4M3", {out, in}, 1});
    all->push_back({name + ".weight_scale", "F32", {out, 1}, 4});
    return;
  }
  all->push_back({name + ".qweight", "I32", {in, out / kPerWord}, 4});
  all->push_back({name + ".qzeros", "I32", {in / group, out / kPerWord}, 4});
  all->push_back({name + ".scales", "F16", {in / group, out}, 2});
}

}  // namespace

std::string LayerPrefix(int32_t layer) { return "model.layers." + std::to_string(layer) + "."; }

std::vector<std::string> LayerVectors(const ModelConfig& config, int32_t layer) {
  const std::string prefix = LayerPrefix(layer);
  std::vector<std::string> names = {prefix + "input_layernorm.weight",
                                    prefix + "post_attention_layernorm.weight"};
  if (config.qkv_bias) {
    for (const char* part : {"q", "k", "v"}) {
      names.push_back(prefix + "self_attn." + part + "_proj.bias");
    }
  }
  if (config.output_bias) names.push_back(prefix + "self_attn.o_proj.bias");
  if (config.qk_norm) {
    names.push_back(prefix + "self_attn.q_norm.weight");
    names.push_back(prefix + "self_attn.k_norm.weight");
  }
  return names;
}

std::vector<std::string> OuterTensors(const ModelConfig& config, bool int8_head) {
  std::vector<std::string> names = {"model.embed_tokens.weight", "model.norm.weight"};
  if (!config.tie_word_embeddings && !int8_head) names.emplace_back("lm_head.weight");
  return names;
}

Status CheckGroupSize(const ModelConfig& config, int32_t group_size) {
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv = int64_t{config.num_kv_heads} * config.head_dim;
  for (const int64_t out :
       {int64_t{config.hidden_size}, q, kv, int64_t{config.intermediate_size}}) {
    if (out % kPerWord != 0) {
      return UnimplementedError("a linear layer has " + std::to_string(out) +
                                " outputs, which 4-bit weights need to be a multiple of 8");
    }
  }
  const int64_t common =
      std::gcd(std::gcd(int64_t{config.hidden_size}, q), int64_t{config.intermediate_size});
  std::string fitting;
  for (int64_t size = kSmallestGroup; size <= common; size += kSmallestGroup) {
    if (common % size != 0) continue;
    if (size == group_size) return OkStatus();
    fitting += (fitting.empty() ? "" : ", ") + std::to_string(size);
  }
  const std::string what = "groups of " + std::to_string(group_size) + " do not fit layers of " +
                           std::to_string(config.hidden_size) + ", " + std::to_string(q) + " and " +
                           std::to_string(config.intermediate_size) + " inputs: ";
  if (fitting.empty()) return InvalidArgumentError(what + "no multiple of 32 divides all of them");
  return InvalidArgumentError(what + "--group-size must be one of " + fitting);
}

StatusOr<std::vector<TensorSpec>> PlanTensors(const ModelConfig& config,
                                              const Checkpoint& checkpoint,
                                              const QuantizeOptions& options) {
  std::vector<TensorSpec> all;
  const auto keep = [&](const std::string& name) -> Status {
    INFERD_ASSIGN_OR_RETURN(const TensorView view, checkpoint.View(name));
    const TensorFacts* facts = checkpoint.Find(name);
    all.push_back({name, std::string(facts->dtype), facts->shape, DTypeSize(view.dtype)});
    return OkStatus();
  };
  for (const std::string& name : OuterTensors(config, options.int8_head)) {
    INFERD_RETURN_IF_ERROR(keep(name));
  }
  if (options.int8_head) {
    AddLinear("lm_head", config.vocab_size, config.hidden_size, QuantizeMethod::kInt8, 0, &all);
  }
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    for (const std::string& name : LayerVectors(config, layer)) INFERD_RETURN_IF_ERROR(keep(name));
    for (const std::string_view linear : kLinears) {
      const std::string name = LayerPrefix(layer) + std::string(linear);
      const TensorFacts* facts = checkpoint.Find(name + ".weight");
      INFERD_CHECK(facts != nullptr && facts->shape.size() == 2);
      AddLinear(name, facts->shape[0], facts->shape[1], options.method, options.group_size, &all);
    }
  }
  return all;
}

}  // namespace inferd::quantize
