#include "server/model_card.h"

#include <string>

namespace inferd {

void FillModel(const ServedModel& model, v1::Model* out) {
  out->set_id(model.id);
  out->set_created(model.created);
  out->set_owned_by("inferd");
  out->set_root(model.root);
  out->set_max_model_len(model.max_model_len);
  for (const std::string& alias : model.aliases) out->add_aliases(alias);
  out->set_architecture(model.architecture);
  out->set_dtype(model.dtype);
  out->set_quantization(model.quantization);
  out->set_vocab_size(model.vocab_size);
  for (const TokenId id : model.eos_tokens) out->add_eos_token_ids(static_cast<uint32_t>(id));
  if (model.chat_template) out->add_capabilities(v1::CAPABILITY_CHAT);
  out->add_capabilities(v1::CAPABILITY_COMPLETION);
  out->add_capabilities(v1::CAPABILITY_LOGPROBS);
  const nlohmann::ordered_json defaults = {
      {"temperature", model.defaults.temperature},
      {"top_p", model.defaults.top_p},
      {"top_k", model.defaults.top_k},
      {"repetition_penalty", model.defaults.repetition_penalty}};
  out->set_default_sampling_params(defaults.dump());
}

}  // namespace inferd
