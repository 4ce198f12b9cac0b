// Models and tokens as JSON.
#include <string>

#include "inferd/openai/openai.h"
#include "openai/json_writer.h"

namespace inferd::openai {
namespace {

// CAPABILITY_CHAT as "chat".
std::string CapabilityName(int capability) {
  const std::string& name = v1::Capability_Name(static_cast<v1::Capability>(capability));
  std::string result = name.substr(std::string_view("CAPABILITY_").size());
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return result;
}

void WriteModel(const v1::Model& model, JsonWriter* out) {
  out->BeginObject();
  out->Name("id").String(model.id());
  out->Name("object").String("model");
  out->Name("created").Int(model.created());
  out->Name("owned_by").String(model.owned_by());
  if (model.has_root()) out->Name("root").String(model.root());
  out->Name("parent");
  if (model.has_parent()) {
    out->String(model.parent());
  } else {
    out->Null();
  }
  out->Name("max_model_len").Int(model.max_model_len());
  out->Name("aliases").BeginArray();
  for (const std::string& alias : model.aliases()) out->String(alias);
  out->EndArray();
  out->Name("architecture").String(model.architecture());
  out->Name("quantization").String(model.quantization());
  out->Name("dtype").String(model.dtype());
  out->Name("vocab_size").Int(model.vocab_size());
  out->Name("eos_token_ids").BeginArray();
  for (const uint32_t id : model.eos_token_ids()) out->Int(id);
  out->EndArray();
  out->Name("capabilities").BeginArray();
  for (const int capability : model.capabilities()) out->String(CapabilityName(capability));
  out->EndArray();
  if (!model.default_sampling_params().empty()) {
    out->Name("default_sampling_params").Raw(model.default_sampling_params());
  }
  out->EndObject();
}

}  // namespace

std::string ToJson(const v1::Model& model) {
  JsonWriter out;
  WriteModel(model, &out);
  return out.Take();
}

std::string ToJson(const v1::ListModelsResponse& models) {
  JsonWriter out;
  out.BeginObject().Name("object").String("list").Name("data").BeginArray();
  for (const v1::Model& model : models.models()) WriteModel(model, &out);
  return out.EndArray().EndObject().Take();
}

std::string ToJson(const v1::TokenizeResponse& answer) {
  JsonWriter out;
  out.BeginObject().Name("count").Int(answer.count());
  out.Name("max_model_len").Int(answer.max_model_len());
  out.Name("tokens").BeginArray();
  for (const uint32_t id : answer.token_ids()) out.Int(id);
  out.EndArray().Name("token_strs");
  if (answer.token_bytes_size() == 0) {
    out.Null();
  } else {
    out.BeginArray();
    for (const std::string& bytes : answer.token_bytes()) out.String(bytes);
    out.EndArray();
  }
  return out.EndObject().Take();
}

std::string ToJson(const v1::DetokenizeResponse& answer) {
  JsonWriter out;
  return out.BeginObject().Name("prompt").String(answer.text()).EndObject().Take();
}

}  // namespace inferd::openai
