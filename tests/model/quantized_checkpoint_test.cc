// The quantised checkpoints of tests/golden: decoded bit for bit as numpy does,
// and damaged ones refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "inferd/backends/backend.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model.h"
#include "model/linear_source.h"
#include "support/source_dir.h"
#include "tiny_checkpoint.h"

namespace inferd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using testing::ReadCheckpoint;
using testing::TempDir;
using testing::TinyCheckpoint;
using testing::TinyTensor;

constexpr const char* kCases[] = {"qwen2_awq",  "llama_gptq",       "llama_gptq_v2",
                                  "llama_int8", "qwen2_fp8",        "llama_fp8_static",
                                  "llama_fp8",  "llama_fp8_weights"};

fs::path Golden(const std::string& name) { return SourceDir() / "tests/golden/quantised" / name; }

// The weights a RawLinear stands for, by the words of its contract.
std::vector<float> Dequantise(const RawLinear& raw) {
  const auto* scales = raw.scales.As<const float>();
  const int64_t out = raw.data.dim(0);
  std::vector<float> values;
  if (IsFp8(raw.format)) {
    for (int64_t i = 0; i < raw.data.NumElements(); ++i) {
      values.push_back(E4M3ToF32(raw.data.As<uint8_t>()[i]) * scales[i / raw.group_size]);
    }
    return values;
  }
  if (raw.format == WeightFormat::kInt8) {
    const int64_t in = raw.data.dim(1);
    const auto* codes = raw.data.As<const int8_t>();
    for (int64_t i = 0; i < out * in; ++i) {
      values.push_back(static_cast<float>(codes[i]) * scales[i / in]);
    }
    return values;
  }
  const int64_t in = raw.data.dim(1) * 2;
  const auto* codes = raw.data.As<const uint8_t>();
  const auto* zeros = raw.zeros.As<const uint8_t>();
  for (int64_t i = 0; i < out * in; ++i) {
    const int code = i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
    const int64_t group = i / raw.group_size;
    values.push_back(static_cast<float>(code - zeros[group]) * scales[group]);
  }
  return values;
}

std::string Fnv1a(const std::vector<float>& values) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(float); ++i) {
    hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

TEST(QuantizedCheckpointTest, DecodesAsNumpyDoes) {
  for (const char* name : kCases) {
    const auto config = LoadModelConfig(Golden(name));
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    const auto checkpoint = Checkpoint::Open(Golden(name));
    ASSERT_TRUE(checkpoint.ok());
    model::LinearSource source(config->quantization, *checkpoint);
    const json expected = json::parse(testing::ReadFile(Golden(name) / "expected.json"));
    ASSERT_GE(expected["layers"].size(), 13U);
    for (const auto& [layer, e] : expected["layers"].items()) {
      const auto linear = source.Load(layer);
      ASSERT_TRUE(linear.ok()) << linear.status().ToString();
      const std::vector<float> values = Dequantise(linear->raw);
      for (size_t i = 0; i < e["first"].size(); ++i) {
        EXPECT_EQ(values[i], e["first"][i].get<float>()) << name << " " << layer << " " << i;
      }
      EXPECT_EQ(Fnv1a(values), e["fnv1a"].get<std::string>()) << name << " " << layer;
    }
  }
}

class RefusalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = CreateBackend("ref", {.threads = 1, .logger = nullptr});
    ASSERT_TRUE(backend.ok());
    backend_ = std::move(backend).value();
  }

  StatusOr<MemoryPlan> Plan(const fs::path& dir) {
    INFERD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(dir));
    INFERD_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(dir));
    MemoryRequest request;
    request.max_running = 2;
    request.max_batched_tokens = 16;
    notes_.clear();
    return PlanMemory(config, checkpoint, backend_->ops(), request, &notes_);
  }

  // As the daemon does: the plan, then the weights.
  Status Load(const fs::path& dir) {
    INFERD_RETURN_IF_ERROR(Plan(dir).status());
    INFERD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(dir));
    INFERD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(dir));
    return LoadModel(config, std::move(checkpoint), {16, 2, 16}, backend_->ops()).status();
  }

  std::unique_ptr<Backend> backend_;
  std::vector<std::string> notes_;
};

TEST_F(RefusalTest, PlansWhatIsGood) {
  for (const char* name : kCases) {
    const auto plan = Plan(Golden(name));
    ASSERT_TRUE(plan.ok()) << name << " " << plan.status().ToString();
    EXPECT_TRUE(notes_.empty()) << name << ": " << notes_.front();
  }
}

TEST_F(RefusalTest, CountsThePackedBytes) {
  constexpr int64_t kHidden = 64;
  constexpr int64_t kFfn = 128;
  constexpr int64_t kRows = 64 + 2 * 32 + 64 + 2 * kFfn;        // of all but down_proj
  constexpr int64_t kLayer = kRows * kHidden + kHidden * kFfn;  // weights
  constexpr int64_t kNorms = 5 * kHidden * 4;
  constexpr int64_t kEnds = 256 * kHidden * 2;  // a head, in 16 bits
  const auto gptq = Plan(Golden("llama_gptq"));
  ASSERT_TRUE(gptq.ok());
  // Groups of 64: a scale of four bytes and a zero point of one.
  EXPECT_EQ(gptq->weight_bytes, 2 * (kLayer / 2 + kLayer / 64 * 5) + kNorms + kEnds);
  const auto int8 = Plan(Golden("llama_int8"));
  ASSERT_TRUE(int8.ok());
  // One scale a row; a down_proj is left in 16 bits.
  EXPECT_EQ(int8->weight_bytes,
            2 * (kLayer + (kRows + kHidden) * 4) + kHidden * kFfn - kHidden * 4 + kNorms + kEnds);
}

// Scales shared by blocks or by all become one per output and group.
TEST_F(RefusalTest, CountsTheSpreadScales) {
  constexpr int64_t kLayer = (64 + 2 * 32 + 64 + 2 * 128) * 64 + 64 * 128;
  constexpr int64_t kNorms = 5 * 64 * 4;
  constexpr int64_t kOutputs = 64 + 2 * 32 + 64 + 2 * 128 + 64;
  const auto fixed = Plan(Golden("llama_fp8_static"));
  ASSERT_TRUE(fixed.ok()) << fixed.status().ToString();
  EXPECT_EQ(fixed->weight_bytes, 2 * (kLayer + kOutputs * 4) + kNorms + 256 * 64 * 2);
  const auto blocks = Plan(Golden("qwen2_fp8"));
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();
  // Two groups a row, four in down_proj, of which one is in 16 bits; q, k and v biases.
  constexpr int64_t kScales = ((kOutputs - 64) * 2 + 64 * 4) * 4;
  constexpr int64_t kBiases = (64 + 2 * 32) * 4;
  EXPECT_EQ(blocks->weight_bytes,
            2 * (kLayer + kScales + kBiases) + 64 * 128 - 64 * 4 * 4 + kNorms + 256 * 64 * 2);
}

struct Damage {
  const char* what;
  const char* base;
  std::function<void(TinyCheckpoint&)> apply;
  StatusCode code;
  const char* names;
};

constexpr const char* kQ = "model.layers.0.self_attn.q_proj";

std::string At(const char* end) { return std::string(kQ) + end; }

TEST_F(RefusalTest, RefusesWhatDoesNotFit) {
  constexpr StatusCode kBad = StatusCode::kFailedPrecondition;
  constexpr StatusCode kNot = StatusCode::kUnimplemented;
  const auto reshape = [](const char* end, std::vector<int64_t> shape) {
    return [end, shape](TinyCheckpoint& t) { t.tensor(At(end)).shape = shape; };
  };
  const auto remove = [](const char* end) {
    return [end](TinyCheckpoint& t) { t.Remove(At(end)); };
  };
  const auto redtype = [](const char* end, const char* dtype) {  // of the same size
    return [end, dtype](TinyCheckpoint& t) { t.tensor(At(end)).dtype = dtype; };
  };
  const auto configure = [](const char* key, json value) {
    return [key, value](TinyCheckpoint& t) { t.config["quantization_config"][key] = value; };
  };
  const auto index = [](std::vector<int32_t> edits) {  // pairs of place and group
    return [edits](TinyCheckpoint& t) {
      for (size_t i = 0; i < edits.size(); i += 2) {
        std::memcpy(t.tensor("model.layers.0.mlp.down_proj.g_idx").bytes.data() + edits[i] * 4,
                    &edits[i + 1], 4);
      }
    };
  };
  const auto float_k = [](TinyCheckpoint& t) {
    const std::string k = "model.layers.0.self_attn.k_proj";
    for (const char* end : {".qweight", ".qzeros", ".scales"}) t.Remove(k + end);
    t.tensors.push_back({k + ".weight", "F16", {32, 64}, std::string(32 * 64 * 2, '\0')});
  };
  const auto bits = [](const std::string& name, size_t at, std::string bytes) {
    return [name, at, bytes](TinyCheckpoint& t) {
      t.tensor(name).bytes.replace(at, bytes.size(), bytes);
    };
  };
  const std::string inf16("\x00\x7c", 2);
  const std::string nan_bf16("\xc0\x7f", 2);
  const std::vector<Damage> cases = {
      {"awq: qweight transposed", "qwen2_awq", reshape(".qweight", {8, 64}), kBad, "[8, 64]"},
      {"awq: qzeros flat", "qwen2_awq", reshape(".qzeros", {16}), kBad, "qzeros"},
      {"awq: scales transposed", "qwen2_awq", reshape(".scales", {64, 2}), kBad, "[64, 2]"},
      {"awq: no scales", "qwen2_awq", remove(".scales"), kBad, "lacks 1 tensors: "},
      {"awq: no qzeros", "qwen2_awq", remove(".qzeros"), kBad, "q_proj.qzeros"},
      {"awq: no qweight", "qwen2_awq", remove(".qweight"), kBad, "q_proj.qweight"},
      {"awq: no layer", "qwen2_awq",
       [](TinyCheckpoint& t) {
         for (const char* end : {".qweight", ".qzeros", ".scales"}) t.Remove(At(end));
       },
       kBad, "lacks 3 tensors: model.layers.0.self_attn.q_proj.qweight"},
      {"awq: codes as floats", "qwen2_awq", redtype(".qweight", "F32"), kBad,
       "dtype F32, its quantisation needs I32"},
      {"awq: zeros unsigned", "qwen2_awq", redtype(".qzeros", "U32"), kBad, "dtype U32"},
      {"awq: scales integers", "qwen2_awq", redtype(".scales", "I16"), kNot, "dtype I16"},
      {"awq: other groups", "qwen2_awq", configure("group_size", 64), kBad, "qzeros"},
      {"awq: groups do not divide", "qwen2_awq", configure("group_size", 96), kBad,
       "groups of 96 do not divide its 64 inputs"},
      {"awq: called gptq", "qwen2_awq",
       [](TinyCheckpoint& t) {
         t.config["quantization_config"] = {
             {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}};
       },
       kBad, "qweight"},
      {"awq: called nothing", "qwen2_awq",
       [](TinyCheckpoint& t) { t.config.erase("quantization_config"); }, kNot, "qweight"},
      {"awq: config lies about heads", "qwen2_awq",
       [](TinyCheckpoint& t) { t.config["num_key_value_heads"] = 4; }, kBad, "k_proj.qweight"},
      {"awq: outputs in no eights", "qwen2_awq",
       [](TinyCheckpoint& t) { t.config["intermediate_size"] = 132; }, kBad, "multiple of 8"},
      {"awq: k in float", "qwen2_awq", float_k, kNot,
       "k_proj\": stored as F16, its neighbours as awq"},
      {"awq: stored twice", "qwen2_awq",
       [](TinyCheckpoint& t) {
         t.tensors.push_back({At(".weight"), "F16", {64, 64}, std::string(64 * 64 * 2, '\0')});
       },
       kBad, "stored both quantised and in float"},
      {"awq: order of groups", "qwen2_awq",
       [](TinyCheckpoint& t) {
         t.tensors.push_back({At(".g_idx"), "I32", {64}, std::string(64 * 4, '\0')});
       },
       kNot, "g_idx"},
      {"awq: a scale infinite", "qwen2_awq", bits(At(".scales"), 10, inf16), kBad,
       "q_proj.scales\": holds a scale that is not finite"},
      {"gptq: no g_idx for act-order", "llama_gptq",
       [](TinyCheckpoint& t) {
         t.config["quantization_config"]["desc_act"] = true;
         t.Remove(At(".g_idx"));
       },
       kBad, "lacks 1 tensors: model.layers.0.self_attn.q_proj.g_idx"},
      {"gptq: g_idx past the groups", "llama_gptq", index({5, 2}), kBad,
       "group 2 of input 5 is not in [0, 2)"},
      {"gptq: g_idx negative", "llama_gptq", index({127, -1}), kBad, "group -1 of input 127"},
      {"gptq: g_idx permuted", "llama_gptq", index({0, 1, 64, 0}), kNot, "act-order"},
      {"gptq: g_idx too short", "llama_gptq",
       [](TinyCheckpoint& t) {
         TinyTensor& g = t.tensor(At(".g_idx"));
         g.shape = {63};
         g.bytes.resize(63 * 4);
       },
       kBad, "[63]"},
      {"gptq: a zero point of 16", "llama_gptq", bits(At(".qzeros"), 0, "\xff"), kBad,
       "holds a zero point of 16"},
      {"gptq: a bias that counts", "llama_gptq",
       bits("model.layers.1.mlp.up_proj.bias", 20, "\x01"), kNot, "up_proj.bias"},
      {"gptq: other groups", "llama_gptq", configure("group_size", -1), kBad, "qzeros"},
      {"gptq: 3-bit words", "llama_gptq", reshape(".qweight", {4, 128}), kBad, "[4, 128]"},
      {"int8: scales per tensor", "llama_int8",
       [](TinyCheckpoint& t) {
         TinyTensor& s = t.tensor(At(".weight_scale"));
         s.shape = {1};
         s.bytes.resize(2);
       },
       kBad, "shape [1], the configuration needs [64, 1]"},
      {"int8: no scales", "llama_int8", remove(".weight_scale"), kBad, "q_proj.weight_scale"},
      {"int8: unsigned", "llama_int8", redtype(".weight", "U8"), kNot, "dtype U8"},
      {"int8: fp8", "llama_int8", redtype(".weight", "F8_E4M3"), kNot, "F8_E4M3"},
      {"int8: transposed", "llama_int8",
       [](TinyCheckpoint& t) {
         t.tensor("model.layers.0.mlp.up_proj.weight").shape = {64, 128};
       },
       kBad, "[64, 128]"},
      {"int8: zero points", "llama_int8",
       [](TinyCheckpoint& t) {
         t.tensors.push_back({At(".weight_zero_point"), "I8", {64, 1}, std::string(64, '\0')});
       },
       kNot, "weight_zero_point"},
      {"int8: a fixed input scale", "llama_int8",
       [](TinyCheckpoint& t) {
         t.tensors.insert(t.tensors.begin(),
                          {At(".input_scale"), "F32", {1}, std::string(4, '\0')});
       },
       kNot, "input_scale"},
      {"int8: a scale not a number", "llama_int8", bits(At(".weight_scale"), 4, nan_bf16), kBad,
       "not finite"},
      {"fp8: called nothing", "llama_fp8",
       [](TinyCheckpoint& t) { t.config.erase("quantization_config"); }, kNot, "dtype F8_E4M3"},
      {"fp8: a NaN", "qwen2_fp8", bits(At(".weight"), 700, "\xff"), kBad,
       "q_proj.weight\": holds a NaN"},
      {"fp8: a scale not a number", "qwen2_fp8", bits(At(".weight_scale_inv"), 2, nan_bf16), kBad,
       "weight_scale_inv\": holds a scale that is not finite"},
      {"fp8: no scales", "llama_fp8", remove(".weight_scale"), kBad,
       "lacks 1 tensors: model.layers.0.self_attn.q_proj.weight_scale"},
      {"fp8: scales of other blocks", "qwen2_fp8", configure("weight_block_size", {64, 32}), kBad,
       "weight_scale_inv"},
      {"fp8: blocks that do not divide", "qwen2_fp8", configure("weight_block_size", {48, 96}),
       kNot, "blocks of 96 inputs do not divide its 64"},
      {"fp8: both names of scales", "qwen2_fp8",
       [](TinyCheckpoint& t) {
         t.tensors.push_back({At(".weight_scale"), "F32", {1}, std::string(4, '\0')});
       },
       kNot, "weight_scale"},
      {"fp8: input scales of dynamic ones", "llama_fp8",
       [](TinyCheckpoint& t) {
         t.tensors.push_back({At(".input_scale"), "F32", {1}, std::string(4, '\0')});
       },
       kNot, "input_scale"},
      {"fp8: scales flat", "llama_fp8", reshape(".weight_scale", {32, 2}), kBad, "[32, 2]"},
      {"int8: called nothing", "llama_int8",
       [](TinyCheckpoint& t) { t.config.erase("quantization_config"); }, kNot, "dtype I8"},
  };
  EXPECT_GE(cases.size(), 30U);
  for (const Damage& c : cases) {
    const TempDir dir;
    TinyCheckpoint tiny = ReadCheckpoint(Golden(c.base));
    c.apply(tiny);
    tiny.Write(dir.path());
    const Status status = Load(dir.path());
    ASSERT_FALSE(status.ok()) << c.what;
    EXPECT_EQ(status.code(), c.code) << c.what << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.names)) << c.what;
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << c.what;
    EXPECT_LT(status.message().size(), 400U) << c.what;
  }
}

TEST_F(RefusalTest, AcceptsWhatOnlyLooksOdd) {
  const TempDir dir;
  TinyCheckpoint tiny = ReadCheckpoint(Golden("llama_gptq"));
  // The order of groups is trivial, whatever the configuration says of it.
  tiny.config["quantization_config"]["desc_act"] = true;
  // Zeros below nought, as a bias, are zeros.
  tiny.tensor("model.layers.1.mlp.up_proj.bias").bytes[1] = '\x80';
  tiny.Write(dir.path());
  const Status odd = Plan(dir.path()).status();
  EXPECT_TRUE(odd.ok()) << odd.ToString();

  tiny = ReadCheckpoint(Golden("llama_gptq"));
  const std::vector<TinyTensor> all = tiny.tensors;
  for (const TinyTensor& t : all) {
    if (t.name.find("g_idx") != std::string::npos) tiny.Remove(t.name);
  }
  tiny.Write(dir.path());
  const Status without = Plan(dir.path()).status();
  EXPECT_TRUE(without.ok()) << without.ToString();
}

}  // namespace
}  // namespace inferd
