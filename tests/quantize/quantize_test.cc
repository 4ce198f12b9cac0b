#include "inferd/quantize/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "inferd/backends/backend.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model.h"
#include "model/linear_source.h"
#include "quantize/matrix.h"
#include "quantize/rounding.h"
#include "support/source_dir.h"
#include "tiny_checkpoint.h"

namespace inferd {
namespace {

namespace fs = std::filesystem;
using inferd::testing::TempDir;
using ::testing::HasSubstr;

const fs::path kDemoSmall = SourceDir() / "models/demo-small";

class QuantizeTest : public ::testing::Test {
 protected:
  QuantizeTest() : backend_(CreateBackend("ref", BackendOptions{}).value()) {
    options_.output = dir_.path() / "out";
    options_.group_size = 32;
    calibration_ = dir_.path() / "calibration.txt";
    std::string text;
    for (int i = 0; i < 4; ++i) {
      text += "What is " + std::to_string(i) + " + 4?\n" + std::to_string(i + 4) + "\n";
    }
    testing::WriteFile(calibration_, text);
  }

  Status Run(QuantizeMethod method, const fs::path& input) {
    options_.method = method;
    options_.input = input;
    if (method == QuantizeMethod::kInt4Awq) options_.calibration = calibration_;
    return QuantizeCheckpoint(options_, backend_->ops());
  }
  // A tiny model whose sizes take groups of 32, in dir_/in.
  fs::path WriteTiny(uint64_t seed = 1) {
    const fs::path in = dir_.path() / "in";
    fs::create_directory(in);
    testing::MakeTiny("LlamaForCausalLM", seed).Write(in);
    return in;
  }
  size_t Entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }

  TempDir dir_;
  fs::path calibration_;
  QuantizeOptions options_;
  std::unique_ptr<Backend> backend_;
};

// Loads `dir` as the daemon does: every check, every weight.
Status Load(const fs::path& dir, Ops& ops) {
  INFERD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(dir));
  INFERD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(dir));
  std::vector<std::string> notes;
  MemoryRequest request;
  request.max_model_len = 16;
  request.max_running = 1;
  INFERD_RETURN_IF_ERROR(PlanMemory(config, checkpoint, ops, request, &notes).status());
  if (!notes.empty()) return FailedPreconditionError(notes.front());
  return LoadModel(config, std::move(checkpoint), StepLimits{16, 1, 16}, ops).status();
}

TEST_F(QuantizeTest, Int4ReadsBackAsItWasRounded) {
  const fs::path in = kDemoSmall;
  ASSERT_TRUE(Run(QuantizeMethod::kInt4Rtn, in).ok());
  const Status loaded = Load(options_.output, backend_->ops());
  EXPECT_TRUE(loaded.ok()) << loaded.ToString();

  const ModelConfig config = LoadModelConfig(options_.output).value();
  EXPECT_EQ(config.quantization.method, QuantMethod::kAwq);
  EXPECT_EQ(config.quantization.group_size, 32);
  const Checkpoint before = Checkpoint::Open(in).value();
  const Checkpoint after = Checkpoint::Open(options_.output).value();
  model::LinearSource source(config.quantization, after);
  for (const char* layer : {"self_attn.k_proj", "self_attn.o_proj", "mlp.down_proj"}) {
    const std::string name = std::string("model.layers.2.") + layer;
    const quantize::Matrix weights = quantize::ReadMatrix(before, name).value();
    quantize::Int4Matrix rounded;
    ASSERT_TRUE(quantize::RoundInt4(weights, 32, nullptr, 1, &rounded));
    const model::SourcedLinear read = source.Load(name).value();
    ASSERT_EQ(read.raw.format, WeightFormat::kInt4);
    ASSERT_EQ(read.raw.data.dim(0), weights.out);
    ASSERT_EQ(read.raw.data.dim(1) * 2, weights.in);
    for (int64_t i = 0; i < weights.out * weights.in; ++i) {
      const uint8_t both = read.raw.data.As<uint8_t>()[i / 2];
      ASSERT_EQ(i % 2 == 0 ? both & 15 : both >> 4, rounded.codes[static_cast<size_t>(i)])
          << name << " " << i;
    }
    for (size_t i = 0; i < rounded.zeros.size(); ++i) {
      ASSERT_EQ(read.raw.zeros.As<uint8_t>()[i], rounded.zeros[i]);
      ASSERT_EQ(read.raw.scales.As<float>()[i], F16ToF32(rounded.scales[i]));
    }
  }
}

TEST_F(QuantizeTest, Int8ReadsBackAsItWasRounded) {
  const fs::path in = kDemoSmall;
  ASSERT_TRUE(Run(QuantizeMethod::kInt8, in).ok());
  const Status loaded = Load(options_.output, backend_->ops());
  EXPECT_TRUE(loaded.ok()) << loaded.ToString();
  const ModelConfig config = LoadModelConfig(options_.output).value();
  EXPECT_EQ(config.quantization.method, QuantMethod::kInt8);
  const Checkpoint before = Checkpoint::Open(in).value();
  const Checkpoint after = Checkpoint::Open(options_.output).value();
  model::LinearSource source(config.quantization, after);
  const std::string name = "model.layers.1.mlp.up_proj";
  const quantize::Int8Matrix rounded =
      quantize::RoundInt8(quantize::ReadMatrix(before, name).value(), 1);
  const model::SourcedLinear read = source.Load(name).value();
  ASSERT_EQ(read.raw.data.NumElements(), static_cast<int64_t>(rounded.codes.size()));
  EXPECT_EQ(std::memcmp(read.raw.data.data, rounded.codes.data(), rounded.codes.size()), 0);
  EXPECT_EQ(std::memcmp(read.raw.scales.data, rounded.scales.data(), rounded.scales.size() * 4), 0);
}

TEST_F(QuantizeTest, Fp8ReadsBackAsItWasRounded) {
  const fs::path in = kDemoSmall;
  ASSERT_TRUE(Run(QuantizeMethod::kFp8, in).ok());
  const Status loaded = Load(options_.output, backend_->ops());
  EXPECT_TRUE(loaded.ok()) << loaded.ToString();
  const ModelConfig config = LoadModelConfig(options_.output).value();
  EXPECT_EQ(config.quantization.method, QuantMethod::kFp8);
  EXPECT_TRUE(config.quantization.rounds_inputs);
  const Checkpoint before = Checkpoint::Open(in).value();
  const Checkpoint after = Checkpoint::Open(options_.output).value();
  model::LinearSource source(config.quantization, after);
  const std::string name = "model.layers.1.mlp.up_proj";
  const quantize::Fp8Matrix rounded =
      quantize::RoundFp8(quantize::ReadMatrix(before, name).value(), 1);
  const model::SourcedLinear read = source.Load(name).value();
  EXPECT_EQ(read.raw.format, WeightFormat::kFp8);
  ASSERT_EQ(read.raw.data.NumElements(), static_cast<int64_t>(rounded.codes.size()));
  EXPECT_EQ(std::memcmp(read.raw.data.data, rounded.codes.data(), rounded.codes.size()), 0);
  EXPECT_EQ(std::memcmp(read.raw.scales.data, rounded.scales.data(), rounded.scales.size() * 4), 0);
}

// Of a model with a head of its own, and of one that shares the embedding.
TEST_F(QuantizeTest, TheHeadIsRoundedToo) {
  options_.int8_head = true;
  const fs::path tied = dir_.path() / "tied";
  fs::create_directory(tied);
  testing::TinyCheckpoint tiny = testing::MakeTiny("LlamaForCausalLM");
  tiny.config["tie_word_embeddings"] = true;
  tiny.Remove("lm_head.weight");
  tiny.Write(tied);
  for (const auto& [in, source] :
       {std::pair{WriteTiny(), "lm_head"}, std::pair{tied, "model.embed_tokens"}}) {
    for (const QuantizeMethod method : {QuantizeMethod::kInt8, QuantizeMethod::kInt4Rtn}) {
      // 48 inputs take no groups of 32.
      if (method == QuantizeMethod::kInt4Rtn && in != tied) continue;
      SCOPED_TRACE(in.string());
      fs::remove_all(options_.output);
      const fs::path from = method == QuantizeMethod::kInt8 ? in : kDemoSmall;
      ASSERT_TRUE(Run(method, from).ok());
      const Status loaded = Load(options_.output, backend_->ops());
      EXPECT_TRUE(loaded.ok()) << loaded.ToString();
      const ModelConfig config = LoadModelConfig(options_.output).value();
      EXPECT_FALSE(config.tie_word_embeddings);
      const Checkpoint before = Checkpoint::Open(from).value();
      const Checkpoint after = Checkpoint::Open(options_.output).value();
      const std::string name =
          before.Find("lm_head.weight") != nullptr ? "lm_head" : "model.embed_tokens";
      if (from == in) {
        EXPECT_EQ(name, source);
      }
      const quantize::Int8Matrix rounded =
          quantize::RoundInt8(quantize::ReadMatrix(before, name).value(), 1);
      model::LinearSource linears(config.quantization, after);
      const model::SourcedLinear head = linears.Load("lm_head").value();
      ASSERT_EQ(head.raw.format, WeightFormat::kInt8);
      ASSERT_EQ(head.raw.data.NumElements(), static_cast<int64_t>(rounded.codes.size()));
      EXPECT_EQ(std::memcmp(head.raw.data.data, rounded.codes.data(), rounded.codes.size()), 0);
      EXPECT_EQ(std::memcmp(head.raw.scales.data, rounded.scales.data(), rounded.scales.size() * 4),
                0);
    }
  }
}

TEST_F(QuantizeTest, TheRestIsAsItWas) {
  ASSERT_TRUE(Run(QuantizeMethod::kInt8, kDemoSmall).ok());
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(testing::ReadFile(options_.output / file), testing::ReadFile(kDemoSmall / file));
  }
  nlohmann::json before = nlohmann::json::parse(testing::ReadFile(kDemoSmall / "config.json"));
  nlohmann::json after = nlohmann::json::parse(testing::ReadFile(options_.output / "config.json"));
  EXPECT_EQ(after.erase("quantization_config"), 1U);
  EXPECT_EQ(after, before);
  const Checkpoint in = Checkpoint::Open(kDemoSmall).value();
  const Checkpoint out = Checkpoint::Open(options_.output).value();
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight",
                           "model.layers.3.input_layernorm.weight"}) {
    const TensorView a = in.View(name).value();
    const TensorView b = out.View(name).value();
    ASSERT_EQ(a.NumBytes(), b.NumBytes());
    EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<size_t>(a.NumBytes())), 0) << name;
  }
}

TEST_F(QuantizeTest, AwqLoadsAndDoesNotDependOnTheThreads) {
  options_.threads = 1;
  Status status = Run(QuantizeMethod::kInt4Awq, kDemoSmall);
  ASSERT_TRUE(status.ok()) << status.ToString();
  status = Load(options_.output, backend_->ops());
  EXPECT_TRUE(status.ok()) << status.ToString();
  const std::string one = testing::ReadFile(options_.output / "model.safetensors");
  options_.threads = 3;
  options_.output = dir_.path() / "again";
  ASSERT_TRUE(Run(QuantizeMethod::kInt4Awq, kDemoSmall).ok());
  EXPECT_TRUE(one == testing::ReadFile(options_.output / "model.safetensors"));
}

TEST_F(QuantizeTest, ShardsLoad) {
  options_.max_shard_bytes = 100'000;
  ASSERT_TRUE(Run(QuantizeMethod::kInt8, kDemoSmall).ok());
  EXPECT_FALSE(fs::exists(options_.output / "model.safetensors"));
  const Status loaded = Load(options_.output, backend_->ops());
  EXPECT_TRUE(loaded.ok()) << loaded.ToString();
  // And are an input: what is quantised is refused for that alone.
  options_.input = options_.output;
  options_.output = dir_.path() / "twice";
  EXPECT_THAT(QuantizeCheckpoint(options_, backend_->ops()).message(),
              HasSubstr("quantised already (int8)"));
}

TEST_F(QuantizeTest, GroupSizesThatDoNotFitNameThoseThatDo) {
  options_.group_size = 128;
  const Status status = Run(QuantizeMethod::kInt4Rtn, kDemoSmall);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "groups of 128 do not fit layers of 96, 96 and 256 inputs: --group-size must be one "
            "of 32");
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(QuantizeTest, AFullOutputDirectoryIsRefusedUntouched) {
  fs::create_directory(options_.output);
  testing::WriteFile(options_.output / "mine", "text");
  EXPECT_THAT(Run(QuantizeMethod::kInt8, kDemoSmall).message(), HasSubstr("is not empty"));
  EXPECT_EQ(testing::ReadFile(options_.output / "mine"), "text");
  options_.output = kDemoSmall;
  EXPECT_THAT(Run(QuantizeMethod::kInt8, kDemoSmall).message(), HasSubstr("is not empty"));
}

TEST_F(QuantizeTest, AFailureLeavesNothingBehind) {
  const fs::path in = dir_.path() / "in";
  fs::create_directory(in);
  testing::TinyCheckpoint tiny = testing::MakeTiny("LlamaForCausalLM");
  testing::SetF32(tiny.tensor("model.layers.1.mlp.down_proj.weight"), 5, NAN);
  tiny.Write(in);
  const size_t before = Entries();
  EXPECT_THAT(Run(QuantizeMethod::kInt8, in).message(),
              HasSubstr("model.layers.1.mlp.down_proj.weight\": holds a value that is not finite"));
  EXPECT_EQ(Entries(), before);
}

TEST_F(QuantizeTest, WhatIsNoCheckpointIsRefused) {
  EXPECT_THAT(Run(QuantizeMethod::kInt8, dir_.path() / "nowhere").message(),
              HasSubstr("does not exist"));
  EXPECT_FALSE(Run(QuantizeMethod::kInt8, calibration_).ok());
  const fs::path in = WriteTiny();
  fs::resize_file(in / "model.safetensors", 1000);
  EXPECT_FALSE(Run(QuantizeMethod::kInt8, in).ok());
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(QuantizeTest, ACalibrationTextMustSaySomething) {
  calibration_ = dir_.path() / "none.txt";
  EXPECT_THAT(Run(QuantizeMethod::kInt4Awq, kDemoSmall).message(), HasSubstr("none.txt"));
  testing::WriteFile(calibration_, "Hi.");
  EXPECT_THAT(Run(QuantizeMethod::kInt4Awq, kDemoSmall).message(), HasSubstr("fewer than 16"));
  testing::WriteFile(calibration_, std::string(100, '\xff'));
  EXPECT_THAT(Run(QuantizeMethod::kInt4Awq, kDemoSmall).message(), HasSubstr("calibration text"));
  EXPECT_FALSE(fs::exists(options_.output));
}

}  // namespace
}  // namespace inferd
