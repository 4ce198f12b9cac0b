#include "tiny_checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "inferd/base/check.h"
#include "inferd/base/random.h"
#include "inferd/tensor/tensor.h"

namespace inferd::testing {
namespace {

// Weights in (-scale, scale) + center, a pure function of (seed, name).
std::string Fill(const std::string& name, const std::vector<int64_t>& shape, std::string_view dtype,
                 uint64_t seed, float center, float scale) {
  uint64_t key = seed;
  for (const char c : name) key = key * 1099511628211ULL + static_cast<unsigned char>(c);
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  std::string bytes;
  for (int64_t i = 0; i < count; ++i) {
    const float u = PhiloxUniform(key, 0, static_cast<uint32_t>(i));
    const float value = center + scale * (2.0F * u - 1.0F);
    if (dtype == "F32") {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    } else {
      const uint16_t half = dtype == "F16" ? F32ToF16(value) : F32ToBF16(value);
      bytes.append(reinterpret_cast<const char*>(&half), sizeof(half));
    }
  }
  return bytes;
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "inferd-test-XXXXXX").string();
  INFERD_CHECK(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  INFERD_CHECK(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  INFERD_CHECK(file.good());
}

TinyTensor& TinyCheckpoint::tensor(std::string_view name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [name](const TinyTensor& t) { return t.name == name; });
  INFERD_CHECK(it != tensors.end());
  return *it;
}

void TinyCheckpoint::Remove(std::string_view name) {
  tensors.erase(tensors.begin() + (&tensor(name) - tensors.data()));
}

void TinyCheckpoint::Write(const std::filesystem::path& dir) const {
  WriteFile(dir / "config.json", config.dump(2));
  WriteFile(dir / "model.safetensors", EncodeSafetensors(tensors));
}

TinyCheckpoint MakeTiny(std::string_view architecture, uint64_t seed, std::string_view dtype) {
  constexpr int64_t kHidden = 32;
  constexpr int64_t kQ = 32;
  constexpr int64_t kKv = 16;
  constexpr int64_t kHeadDim = 8;
  constexpr int64_t kFfn = 48;
  constexpr int64_t kVocab = 64;
  constexpr int kLayers = 2;
  TinyCheckpoint tiny;
  tiny.config = {{"architectures", {std::string(architecture)}},
                 {"hidden_size", kHidden},
                 {"num_hidden_layers", kLayers},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", kHeadDim},
                 {"intermediate_size", kFfn},
                 {"vocab_size", kVocab},
                 {"max_position_embeddings", 256},
                 {"rms_norm_eps", 1e-6},
                 {"rope_theta", 10000.0},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", false},
                 {"eos_token_id", 2},
                 {"torch_dtype", "float32"}};
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool norm = name.find("norm") != std::string::npos;
    std::string bytes = Fill(name, shape, dtype, seed, norm ? 1.0F : 0.0F, norm ? 0.1F : 0.35F);
    tiny.tensors.push_back({name, std::string(dtype), std::move(shape), std::move(bytes)});
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "input_layernorm.weight", {kHidden});
    add(prefix + "self_attn.q_proj.weight", {kQ, kHidden});
    add(prefix + "self_attn.k_proj.weight", {kKv, kHidden});
    add(prefix + "self_attn.v_proj.weight", {kKv, kHidden});
    if (architecture == "Qwen2ForCausalLM") {
      add(prefix + "self_attn.q_proj.bias", {kQ});
      add(prefix + "self_attn.k_proj.bias", {kKv});
      add(prefix + "self_attn.v_proj.bias", {kKv});
    }
    if (architecture == "Qwen3ForCausalLM") {
      add(prefix + "self_attn.q_norm.weight", {kHeadDim});
      add(prefix + "self_attn.k_norm.weight", {kHeadDim});
    }
    add(prefix + "self_attn.o_proj.weight", {kHidden, kQ});
    add(prefix + "post_attention_layernorm.weight", {kHidden});
    add(prefix + "mlp.gate_proj.weight", {kFfn, kHidden});
    add(prefix + "mlp.up_proj.weight", {kFfn, kHidden});
    add(prefix + "mlp.down_proj.weight", {kHidden, kFfn});
  }
  add("model.norm.weight", {kHidden});
  add("lm_head.weight", {kVocab, kHidden});
  return tiny;
}

TinyCheckpoint ReadCheckpoint(const std::filesystem::path& dir) {
  TinyCheckpoint checkpoint;
  checkpoint.config = nlohmann::json::parse(ReadFile(dir / "config.json"));
  const std::string file = ReadFile(dir / "model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const size_t data = sizeof(header_bytes) + header_bytes;
  const nlohmann::json header =
      nlohmann::json::parse(file.substr(sizeof(header_bytes), header_bytes));
  for (const auto& [name, facts] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = facts["data_offsets"][0].get<size_t>();
    const size_t end = facts["data_offsets"][1].get<size_t>();
    checkpoint.tensors.push_back({name, facts["dtype"].get<std::string>(),
                                  facts["shape"].get<std::vector<int64_t>>(),
                                  file.substr(data + begin, end - begin)});
  }
  // The widest types first keeps every tensor aligned, whatever is changed later.
  const auto narrow = [](const TinyTensor& t) { return t.dtype == "I8" ? 2 : t.dtype != "I32"; };
  std::stable_sort(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                   [&](const TinyTensor& a, const TinyTensor& b) { return narrow(a) < narrow(b); });
  return checkpoint;
}

std::string WrapHeader(std::string_view header, std::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file += static_cast<char>((uint64_t{header.size()} >> (8 * i)) & 0xff);
  }
  file += header;
  file += data;
  return file;
}

std::string EncodeSafetensors(const std::vector<TinyTensor>& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const TinyTensor& t : tensors) {
    header[t.name] = {{"dtype", t.dtype},
                      {"shape", t.shape},
                      {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  std::string text = header.dump();
  while (text.size() % 8 != 0) text += ' ';
  return WrapHeader(text, data);
}

void SetF32(TinyTensor& tensor, size_t index, float value) {
  INFERD_CHECK(tensor.dtype == "F32" && (index + 1) * sizeof(float) <= tensor.bytes.size());
  std::memcpy(tensor.bytes.data() + index * sizeof(float), &value, sizeof(value));
}

}  // namespace inferd::testing
