// Whole model directories, good and damaged: configuration, headers and the
// memory plan together, before any weight is touched.
#include "inferd/model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <functional>

#include "inferd/backends/backend.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model.h"
#include "tiny_checkpoint.h"

namespace inferd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::MakeTiny;
using testing::TempDir;
using testing::TinyCheckpoint;
using testing::WriteFile;

namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = CreateBackend("ref", {.threads = 1, .logger = nullptr});
    ASSERT_TRUE(backend.ok());
    backend_ = std::move(backend).value();
  }

  StatusOr<MemoryPlan> Plan(const fs::path& dir, const MemoryRequest& request = {}) {
    INFERD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(dir));
    INFERD_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(dir));
    notes_.clear();
    return PlanMemory(config, checkpoint, backend_->ops(), request, &notes_);
  }

  std::unique_ptr<Backend> backend_;
  std::vector<std::string> notes_;
};

// The tensors of `tiny` split over two files, the index naming them.
json WriteSharded(const TinyCheckpoint& tiny, const fs::path& dir) {
  const size_t half = tiny.tensors.size() / 2;
  json map = json::object();
  for (int part = 0; part < 2; ++part) {
    const std::string name = "model-0000" + std::to_string(part + 1) + "-of-00002.safetensors";
    const auto begin = tiny.tensors.begin() + (part == 0 ? 0 : static_cast<std::ptrdiff_t>(half));
    const auto end =
        part == 0 ? tiny.tensors.begin() + static_cast<std::ptrdiff_t>(half) : tiny.tensors.end();
    const std::vector<testing::TinyTensor> tensors(begin, end);
    for (const auto& t : tensors) map[t.name] = name;
    WriteFile(dir / name, testing::EncodeSafetensors(tensors));
  }
  WriteFile(dir / "config.json", tiny.config.dump());
  const json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
  WriteFile(dir / "model.safetensors.index.json", index.dump());
  return index;
}

TEST_F(CheckpointTest, AcceptsEveryFamily) {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    for (const char* dtype : {"F32", "F16", "BF16"}) {
      const TempDir dir;
      MakeTiny(architecture, 1, dtype).Write(dir.path());
      const auto plan = Plan(dir.path());
      ASSERT_TRUE(plan.ok()) << architecture << " " << dtype << " " << plan.status().ToString();
      EXPECT_TRUE(notes_.empty());
    }
  }
}

TEST_F(CheckpointTest, AcceptsShards) {
  const TempDir dir;
  WriteSharded(MakeTiny("LlamaForCausalLM"), dir.path());
  const auto plan = Plan(dir.path());
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
}

TEST_F(CheckpointTest, ToleratesWhatItDoesNotNeed) {
  const TempDir dir;
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  tiny.tensors.push_back(
      {"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {4}, std::string(16, 'x')});
  tiny.Write(dir.path());
  ASSERT_TRUE(Plan(dir.path()).ok());
  EXPECT_TRUE(notes_.empty());
  tiny.tensors.push_back({"vision.weight", "I64", {1}, std::string(8, 'x')});
  tiny.Write(dir.path());
  ASSERT_TRUE(Plan(dir.path()).ok());
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_THAT(notes_[0], HasSubstr("vision.weight"));
}

struct Damage {
  const char* what;
  std::function<void(TinyCheckpoint&)> apply;
  StatusCode code;
  const char* names;
};

TEST_F(CheckpointTest, RefusesTensorsThatDoNotFit) {
  constexpr StatusCode kBad = StatusCode::kFailedPrecondition;
  constexpr StatusCode kNot = StatusCode::kUnimplemented;
  const auto reshape = [](const char* name, std::vector<int64_t> shape) {
    return [name, shape](TinyCheckpoint& t) { t.tensor(name).shape = shape; };
  };
  const auto extra = [](const char* name) {
    return [name](TinyCheckpoint& t) {
      t.tensors.push_back({name, "F32", {2}, std::string(8, '\0')});
    };
  };
  const auto remove = [](const char* name) {
    return [name](TinyCheckpoint& t) { t.Remove(name); };
  };
  const auto redtype = [](const char* name, const char* dtype) {
    return [name, dtype](TinyCheckpoint& t) {
      testing::TinyTensor& tensor = t.tensor(name);
      tensor.dtype = dtype;
      tensor.bytes.resize(tensor.bytes.size() / 4 * (std::string(dtype) == "I64" ? 8 : 2));
    };
  };
  const std::vector<Damage> cases = {
      {"transposed", reshape("model.layers.0.mlp.down_proj.weight", {48, 32}), kBad, "[48, 32]"},
      {"flattened", reshape("model.layers.1.self_attn.q_proj.weight", {1024}), kBad, "[1024]"},
      {"rank 5", reshape("model.norm.weight", {1, 1, 1, 1, 32}), kBad, "model.norm.weight"},
      {"embedding too small",
       [](TinyCheckpoint& t) {
         t.tensor("model.embed_tokens.weight").shape = {63, 32};
         t.tensor("model.embed_tokens.weight").bytes.resize(63 * 32 * 4);
       },
       kBad, "[63, 32]"},
      {"no norm", remove("model.norm.weight"), kBad, "lacks 1 tensors: model.norm.weight"},
      {"no head", remove("lm_head.weight"), kBad, "lm_head.weight"},
      {"no embedding", remove("model.embed_tokens.weight"), kBad, "embed_tokens"},
      {"no tensors", [](TinyCheckpoint& t) { t.tensors.clear(); }, kBad, "lacks 21 tensors"},
      {"a layer short", [](TinyCheckpoint& t) { t.config["num_hidden_layers"] = 3; }, kBad,
       "model.layers.2.input_layernorm.weight"},
      {"config lies about heads", [](TinyCheckpoint& t) { t.config["num_key_value_heads"] = 4; },
       kBad, "k_proj"},
      {"config lies about vocabulary", [](TinyCheckpoint& t) { t.config["vocab_size"] = 1 << 24; },
       kBad, "embed_tokens"},
      {"wants biases", [](TinyCheckpoint& t) { t.config["attention_bias"] = true; }, kBad,
       "q_proj.bias"},
      {"denies biases", extra("model.layers.0.self_attn.q_proj.bias"), kNot, "q_proj.bias"},
      {"has MLP biases", extra("model.layers.0.mlp.up_proj.bias"), kNot, "up_proj.bias"},
      {"quantised", extra("model.layers.0.self_attn.q_proj.qweight"), kNot, "qweight"},
      {"scaled", extra("model.layers.0.self_attn.q_proj.weight_scale_inv"), kNot, "weight_scale"},
      {"adapter", extra("model.layers.0.self_attn.q_proj.lora_A.weight"), kNot, "lora_A"},
      {"experts", extra("model.layers.0.mlp.experts.0.w1.weight"), kNot, "experts"},
      {"integers", redtype("model.norm.weight", "I64"), kNot, "I64"},
      {"mixed q and k", redtype("model.layers.0.self_attn.k_proj.weight", "BF16"), kNot, "BF16"},
      {"mixed gate and up", redtype("model.layers.1.mlp.up_proj.weight", "F16"), kNot, "F16"},
      {"bytes off their alignment",
       [](TinyCheckpoint& t) {
         t.tensors.insert(t.tensors.begin(), {"aaa", "U8", {1}, std::string(1, 'x')});
       },
       kBad, "not aligned"},
  };
  for (const Damage& c : cases) {
    const TempDir dir;
    TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
    c.apply(tiny);
    tiny.Write(dir.path());
    const auto plan = Plan(dir.path());
    ASSERT_FALSE(plan.ok()) << c.what;
    EXPECT_EQ(plan.status().code(), c.code) << c.what << ": " << plan.status().ToString();
    EXPECT_THAT(plan.status().message(), HasSubstr(c.names)) << c.what;
    EXPECT_EQ(plan.status().message().find('\n'), std::string::npos);
    EXPECT_LT(plan.status().message().size(), 400U);
  }
}

struct Mess {
  const char* what;
  std::function<void(const fs::path&)> make;
  StatusCode code;
  const char* names;
};

TEST_F(CheckpointTest, RefusesBrokenDirectories) {
  constexpr StatusCode kBad = StatusCode::kFailedPrecondition;
  const auto single = [](const std::function<void(const fs::path&)>& then) {
    return [then](const fs::path& dir) {
      MakeTiny("LlamaForCausalLM").Write(dir);
      then(dir);
    };
  };
  const auto sharded = [](const std::function<void(json&)>& edit) {
    return [edit](const fs::path& dir) {
      json index = WriteSharded(MakeTiny("LlamaForCausalLM"), dir);
      edit(index);
      WriteFile(dir / "model.safetensors.index.json", index.dump());
    };
  };
  const auto move_norm = [&](const json& to) {
    return sharded([to](json& i) { i["weight_map"]["model.norm.weight"] = to; });
  };
  const fs::path weights = "model.safetensors";
  const std::vector<Mess> cases = {
      {"empty directory", [](const fs::path&) {}, StatusCode::kNotFound, "config.json"},
      {"no weights", single([&](const fs::path& d) { fs::remove(d / weights); }),
       StatusCode::kNotFound, "no model.safetensors"},
      {"pickles only", single([&](const fs::path& d) {
         fs::remove(d / weights);
         WriteFile(d / "pytorch_model.bin", "x");
       }),
       StatusCode::kUnimplemented, "pytorch_model.bin"},
      {"GGUF only", single([&](const fs::path& d) { fs::rename(d / weights, d / "m.gguf"); }),
       StatusCode::kUnimplemented, "m.gguf"},
      {"weights are a directory", single([&](const fs::path& d) {
         fs::remove(d / weights);
         fs::create_directory(d / weights);
       }),
       kBad, "not a regular file"},
      {"weights are a FIFO", single([&](const fs::path& d) {
         fs::remove(d / weights);
         ASSERT_EQ(mkfifo((d / weights).c_str(), 0600), 0);
       }),
       kBad, "not a regular file"},
      {"weights are /dev/zero", single([&](const fs::path& d) {
         fs::remove(d / weights);
         fs::create_symlink("/dev/zero", d / weights);
       }),
       kBad, "not a regular file"},
      {"config is a FIFO", single([](const fs::path& d) {
         fs::remove(d / "config.json");
         ASSERT_EQ(mkfifo((d / "config.json").c_str(), 0600), 0);
       }),
       kBad, "config.json: not a regular file"},
      {"config is huge", single([](const fs::path& d) {
         WriteFile(d / "config.json", std::string((1 << 20) + 1, ' '));
       }),
       kBad, "config.json: larger"},
      {"empty weights", single([&](const fs::path& d) { WriteFile(d / weights, ""); }), kBad,
       "too short"},
      {"truncated weights", single([&](const fs::path& d) {
         fs::resize_file(d / weights, fs::file_size(d / weights) - 1);
       }),
       kBad, "beyond the end"},
      {"longer weights", single([&](const fs::path& d) {
         fs::resize_file(d / weights, fs::file_size(d / weights) + 1);
       }),
       kBad, "belong to no tensor"},
      {"index is not JSON",
       [](const fs::path& d) {
         WriteSharded(MakeTiny("LlamaForCausalLM"), d);
         WriteFile(d / "model.safetensors.index.json", "weights");
       },
       kBad, "not valid JSON"},
      {"index without a map", sharded([](json& i) { i.erase("weight_map"); }), kBad, "weight_map"},
      {"index map is a list", sharded([](json& i) { i["weight_map"] = {1}; }), kBad, "weight_map"},
      {"index map is empty", sharded([](json& i) { i["weight_map"] = json::object(); }), kBad,
       "weight_map"},
      {"index climbs out", move_norm("../model.safetensors"), kBad, "plain file name"},
      {"index is absolute", move_norm("/etc/passwd"), kBad, "plain file name"},
      {"index goes below", move_norm("sub/model.safetensors"), kBad, "plain file name"},
      {"index names the parent", move_norm(".."), kBad, "plain file name"},
      {"index names nothing", move_norm(""), kBad, "plain file name"},
      {"index names a number", move_norm(7), kBad, "plain file name"},
      {"index hides a zero byte", move_norm(std::string("a\0b", 3)), kBad, "plain file name"},
      {"index name is endless", move_norm(std::string(5000, 'a')), kBad, "plain file name"},
      {"shard missing", move_norm("model-00003-of-00003.safetensors"), StatusCode::kNotFound,
       "model-00003-of-00003.safetensors"},
      {"tensor in the other shard", move_norm("model-00001-of-00002.safetensors"), kBad,
       "is not in model-00001-of-00002"},
      {"index names a tensor nobody has",
       sharded([](json& i) { i["weight_map"]["zzz"] = "model-00001-of-00002.safetensors"; }), kBad,
       "zzz"},
      {"index leaves a tensor out",
       sharded([](json& i) { i["weight_map"].erase("model.norm.weight"); }), kBad,
       "lacks 1 tensors: model.norm.weight"},
  };
  EXPECT_GE(cases.size(), 25U);
  for (const Mess& c : cases) {
    const TempDir dir;
    c.make(dir.path());
    const auto plan = Plan(dir.path());
    ASSERT_FALSE(plan.ok()) << c.what;
    EXPECT_EQ(plan.status().code(), c.code) << c.what << ": " << plan.status().ToString();
    EXPECT_THAT(plan.status().message(), HasSubstr(c.names)) << c.what;
    // One line, without the path of the directory.
    EXPECT_EQ(plan.status().message().find('\n'), std::string::npos);
    EXPECT_EQ(plan.status().message().find(dir.path().string()), std::string::npos);
  }
  EXPECT_EQ(Checkpoint::Open("/nonexistent/model").status().code(), StatusCode::kNotFound);
}

TEST_F(CheckpointTest, PlansTheMemory) {
  const TempDir dir;
  MakeTiny("LlamaForCausalLM").Write(dir.path());
  MemoryRequest request;
  request.max_running = 4;
  request.block_size = 16;
  request.kv_dtype = DType::kF32;
  const auto plan = Plan(dir.path(), request);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->num_blocks, 1 + 4 * 256 / 16);
  // K and V of 2 heads of 8, 16 tokens, 2 layers, as f32.
  EXPECT_EQ(plan->kv_bytes_per_block, 2 * 2 * 8 * 16 * 2 * 4);
  EXPECT_EQ(plan->total_bytes, plan->weight_bytes + plan->rope_bytes + plan->workspace_bytes +
                                   plan->scratch_bytes + plan->kv_bytes);

  request.kv_bytes = 10 * plan->kv_bytes_per_block + 5;
  const auto by_bytes = Plan(dir.path(), request);
  ASSERT_TRUE(by_bytes.ok());
  EXPECT_EQ(by_bytes->num_blocks, 10);
  EXPECT_EQ(notes_.size(), 1U);  // less than one full context

  request.kv_bytes = 1;
  EXPECT_EQ(Plan(dir.path(), request).status().code(), StatusCode::kResourceExhausted);
  request.kv_bytes = 0;
  request.available_bytes = 1000;
  EXPECT_EQ(Plan(dir.path(), request).status().code(), StatusCode::kResourceExhausted);
  request.available_bytes = plan->total_bytes - plan->kv_bytes + 20 * plan->kv_bytes_per_block;
  request.kv_fraction = 0.5;
  EXPECT_EQ(Plan(dir.path(), request)->num_blocks, 10);
  request.max_model_len = 257;
  EXPECT_THAT(Plan(dir.path(), request).status().message(), HasSubstr("max_model_len"));
}

// What every sequence may have of blocks is counted in 32 bits.
TEST_F(CheckpointTest, BlockTablesHaveALargestSize) {
  const TempDir dir;
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  tiny.config["max_position_embeddings"] = 1 << 27;
  tiny.Write(dir.path());
  MemoryRequest request;
  request.block_size = 1;
  request.max_running = 8;
  const auto at_the_limit = Plan(dir.path(), request);
  EXPECT_TRUE(at_the_limit.ok()) << at_the_limit.status().ToString();
  request.max_running = 9;
  const Status past_it = Plan(dir.path(), request).status();
  EXPECT_EQ(past_it.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(past_it.message(), HasSubstr("block tables of 1207959552 entries"));
}

// A configuration of terabytes over a small file is refused by arithmetic.
TEST_F(CheckpointTest, RefusesWithoutTakingMemory) {
  const TempDir dir;
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  tiny.config["hidden_size"] = 1 << 17;
  tiny.config["intermediate_size"] = 1 << 20;
  tiny.config["num_hidden_layers"] = 1024;
  tiny.config["vocab_size"] = 1 << 24;
  tiny.config["max_position_embeddings"] = 1 << 27;
  tiny.Write(dir.path());
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  EXPECT_FALSE(Plan(dir.path()).ok());
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024);  // KiB
}

}  // namespace
}  // namespace inferd
