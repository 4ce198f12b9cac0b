// What a load on the host takes of its memory: no page of the checkpoint's mapping, one copy
// of the weights, and what the plan says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/plan_driver.h"
#include "runtime/watching_ops.h"
#include "support/sanitizers.h"
#include "tiny_checkpoint.h"

namespace inferd::testing {
namespace {

namespace fs = std::filesystem;

RankOptions Options(const fs::path& model) {
  RankOptions options;
  options.model_dir = model;
  options.memory.max_running = 1;
  options.memory.max_batched_tokens = 16;
  options.memory.max_model_len = 64;
  options.memory.num_blocks = 20;
  options.memory.kv_dtype = DType::kF32;
  return options;
}

class LoadMemoryTest : public ::testing::Test {
 protected:
  LoadMemoryTest() : backend_(MakeTestBackend("cpu")) {}

  SystemClock clock_;
  std::unique_ptr<Backend> backend_;
};

class EveryFormatTest : public LoadMemoryTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(EveryFormatTest, NoPageOfTheMappingIsTouched) {
  for (const int tp : {1, 2}) {
    WatchingOps ops(backend_->ops());
    RankOptions options = Options(GoldenDir(GetParam()));
    options.warm_up = false;
    const auto rank = LoadRank(options, PlaceOf({tp, 1, 1}, tp - 1), {}, ops, clock_, nullptr);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    EXPECT_GT(ops.calls(), 4);
    EXPECT_EQ(ops.most_resident_bytes(), 0) << tp;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryFormatTest,
                         ::testing::Values("llama3", "llama2", "qwen2", "qwen3",
                                           "quantised/qwen2_awq", "quantised/llama_gptq",
                                           "quantised/llama_int8", "quantised/qwen2_fp8",
                                           "quantised/llama_fp8_static"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

// What the largest matrix takes beside itself while it is packed, which for 4 bits is all of
// it, lies beside nothing else then.
TEST_F(LoadMemoryTest, TheHeadIsPackedBeforeTheLayers) {
  class Order final : public TapOps {
   public:
    using TapOps::TapOps;
    StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                                std::span<const TensorView> bias) override {
      outputs.push_back(parts[0].data.dim(0));
      return TapOps::Pack(parts, bias);
    }
    std::vector<int64_t> outputs;
  };
  for (const char* name : {"llama3", "qwen2", "quantised/llama_gptq"}) {
    Order ops(backend_->ops());
    const auto rank = LoadRank(Options(GoldenDir(name)), {}, {}, ops, clock_, nullptr);
    ASSERT_TRUE(rank.ok()) << rank.status().ToString();
    ASSERT_GT(ops.outputs.size(), 4U);
    EXPECT_EQ(ops.outputs.front(), (*rank)->info().config.vocab_size) << name;
  }
}

// Instead of a signal that ends the process.
TEST_F(LoadMemoryTest, AFileThatBecomesShorterIsAnError) {
  const TempDir folder;
  class Shortener final : public TapOps {
   public:
    Shortener(Ops& inner, fs::path file) : TapOps(inner), file_(std::move(file)) {}
    StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                                std::span<const TensorView> bias) override {
      fs::resize_file(file_, 4096);
      return TapOps::Pack(parts, bias);
    }

   private:
    const fs::path file_;
  };
  for (const char* name : {"llama3", "quantised/llama_int8", "quantised/qwen2_fp8"}) {
    const fs::path model = folder.path() / fs::path(name).filename();
    fs::copy(GoldenDir(name), model);
    Shortener ops(backend_->ops(), model / "model.safetensors");
    const Status loaded = StartLocalExecutor(Options(model), ops, clock_, nullptr).status();
    EXPECT_EQ(loaded.code(), StatusCode::kUnavailable) << name << loaded.ToString();
    EXPECT_NE(loaded.message().find("a file has become shorter"), std::string::npos);
  }
}

// A field of /proc/self/status, in bytes.
int64_t StatusBytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (!line.starts_with(field)) continue;
    return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

// A model whose table of 64 MiB is nearly all of it.
constexpr int64_t kVocab = 512 * 1024 + 3;
constexpr int64_t kTableBytes = kVocab * 32 * 4;

void WriteModel(const fs::path& directory, bool tied) {
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  tiny.config["vocab_size"] = kVocab;
  tiny.config["tie_word_embeddings"] = tied;
  if (tied) tiny.Remove("lm_head.weight");
  for (TinyTensor& tensor : tiny.tensors) {
    if (tensor.shape[0] != 64) continue;
    tensor.shape[0] = kVocab;
    std::string rows;
    rows.reserve(kTableBytes);
    while (rows.size() < kTableBytes) {
      rows.append(tensor.bytes, 0, std::min(tensor.bytes.size(), kTableBytes - rows.size()));
    }
    tensor.bytes = std::move(rows);
  }
  fs::create_directory(directory);
  tiny.Write(directory);
}

struct Peak {
  MemoryPlan plan;
  int64_t bytes = 0;  // above what was resident before
};

// Loads the model and runs a prompt of 64 tokens from all over the vocabulary.
Peak PeakOf(const RankOptions& options, Ops& ops, const Clock& clock) {
  {
    std::ofstream reset("/proc/self/clear_refs");
    reset << "5";  // VmHWM is VmRSS from now on
  }
  const int64_t before = StatusBytes("VmHWM:");
  EXPECT_LE(before, StatusBytes("VmRSS:") + (int64_t{1} << 20));
  Peak peak;
  auto executor = StartLocalExecutor(options, ops, clock, nullptr);
  EXPECT_TRUE(executor.ok()) << executor.status().ToString();
  if (!executor.ok()) return peak;
  peak.plan = (*executor)->info().memory;
  PlanDriver driver(**executor, 1, options.memory.block_size, peak.plan.num_blocks);
  DrivenPrompt prompt;
  for (int i = 0; i < 60; ++i) prompt.prompt.push_back(static_cast<TokenId>(i * (kVocab / 60)));
  driver.Run({prompt}, options.memory.max_batched_tokens, 1);
  // Weights are kept while they are in use.
  const fs::path& cache = options.packed_cache.directory;
  const auto kept = [&cache] {
    const fs::directory_iterator files(cache);
    return std::any_of(begin(files), end(files),
                       [](const auto& file) { return file.path().extension() == ".packed"; });
  };
  const int64_t give_up_us = clock.NowUs() + 60'000'000;
  while (!cache.empty() && !kept() && clock.NowUs() < give_up_us) std::this_thread::yield();
  peak.bytes = StatusBytes("VmHWM:") - before;
  EXPECT_EQ(ResidentBytesOfMappings(), 0);
  return peak;
}

TEST_F(LoadMemoryTest, ThePeakStaysWithinThePlan) {
  if (kSanitized) GTEST_SKIP() << "sanitizers keep what is freed, and have memory of their own";
  if (!std::ofstream("/proc/self/clear_refs")) GTEST_SKIP() << "the peak cannot be set back here";
  // Threads' stacks and the checkpoint's header.
  constexpr int64_t kBeside = int64_t{12} << 20;
  static_assert(kBeside < kTableBytes / 4);
  for (const bool tied : {true, false}) {
    const TempDir folder;
    WriteModel(folder.path() / "model", tied);
    RankOptions options = Options(folder.path() / "model");
    for (const char* start : {"without a cache", "first", "from the cache"}) {
      SCOPED_TRACE(std::string(tied ? "tied, " : "untied, ") + start);
      if (start != std::string_view("without a cache")) {
        options.packed_cache = {folder.path() / "cache", int64_t{1} << 40, nullptr};
      }
      const Peak peak = PeakOf(options, backend_->ops(), clock_);
      std::printf("    %s, %s: %.1f MiB, planned %.1f MiB\n", tied ? "tied" : "untied", start,
                  static_cast<double>(peak.bytes) / 0x1p20,
                  static_cast<double>(peak.plan.total_bytes) / 0x1p20);
      EXPECT_EQ(peak.plan.mapped_bytes, tied ? 0 : kTableBytes);
      EXPECT_GE(peak.plan.weight_bytes, kTableBytes);
      // It is seen: the packed matrix is there.
      EXPECT_GE(peak.bytes, kTableBytes);
      EXPECT_LE(peak.bytes, peak.plan.total_bytes + kBeside);
    }
  }
}

}  // namespace
}  // namespace inferd::testing
