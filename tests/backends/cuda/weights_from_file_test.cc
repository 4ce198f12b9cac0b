// Weights come from the checkpoint's files, not from their mapping.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device.h"
#include "backends/cuda/fake_cuda.h"
#include "inferd/model/checkpoint.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/tap_ops.h"
#include "runtime/watching_ops.h"

namespace inferd::testing {
namespace {

class WeightsFromFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    backend_ = MakeCudaBackend({}).value();
  }

  Status Load(const std::filesystem::path& model, Ops& ops, const ParallelShape& shape = {}) {
    RankOptions options;
    options.model_dir = model;
    options.memory.max_running = 2;
    options.memory.max_batched_tokens = 32;
    options.memory.max_model_len = 64;
    options.memory.num_blocks = 20;
    options.memory.kv_dtype = DType::kF32;
    options.warm_up = false;
    if (shape.ranks() == 1) return StartLocalExecutor(options, ops, clock_, nullptr).status();
    // One rank of several, loaded on its own.
    return LoadRank(options, PlaceOf(shape, 1), {}, ops, clock_, nullptr).status();
  }

  SystemClock clock_;
  std::unique_ptr<Backend> backend_;
};

class EveryFormatTest : public WeightsFromFileTest,
                        public ::testing::WithParamInterface<const char*> {};

TEST_P(EveryFormatTest, NoPageOfTheMappingIsTouched) {
  for (const int tp : {1, 2}) {
    WatchingOps ops(backend_->ops());
    const Status loaded = Load(GoldenDir(GetParam()), ops, {tp, 1, 1});
    ASSERT_TRUE(loaded.ok()) << loaded.ToString();
    EXPECT_GT(ops.calls(), 4);
    EXPECT_EQ(ops.most_resident_bytes(), 0) << tp;
    backend_.reset();
    ResetFakeCuda();
    backend_ = MakeCudaBackend({}).value();
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryFormatTest,
                         ::testing::Values("llama3", "qwen2", "qwen3", "quantised/qwen2_awq",
                                           "quantised/llama_gptq", "quantised/llama_int8",
                                           "quantised/qwen2_fp8", "quantised/llama_fp8_static"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

// The test can see it: somebody who touches the mapping is found out.
TEST_F(WeightsFromFileTest, TouchingIsSeen) {
  class Toucher final : public TapOps {
   public:
    using TapOps::TapOps;
    void SetFiles(const FileBytes* /*files*/) override {}
  };
  Toucher touches(backend_->ops());
  WatchingOps ops(touches);
  ASSERT_TRUE(Load(GoldenDir("llama3"), ops).ok());
  EXPECT_GT(ops.most_resident_bytes(), 0);
}

// All that a load packed, as it lies on the device.
class CollectingOps final : public TapOps {
 public:
  using TapOps::TapOps;
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override {
    INFERD_ASSIGN_OR_RETURN(LinearWeight weight, TapOps::Pack(parts, bias));
    const size_t at = bytes.size();
    bytes.resize(at + weight.packed.size());
    INFERD_RETURN_IF_ERROR(CopyOut(bytes.data() + at, weight.packed.data(), weight.packed.size()));
    return weight;
  }
  std::vector<std::byte> bytes;
};

TEST_P(EveryFormatTest, TheBytesAreTheSameByAnyNumberOfThreads) {
  for (const int tp : {1, 2}) {
    std::vector<std::byte> by_one;
    for (const int threads : {1, 2, 5}) {
      backend_.reset();
      ResetFakeCuda();
      BackendOptions options;
      options.threads = threads;
      backend_ = MakeCudaBackend(options).value();
      CollectingOps ops(backend_->ops());
      const Status loaded = Load(GoldenDir(GetParam()), ops, {tp, 1, 1});
      ASSERT_TRUE(loaded.ok()) << loaded.ToString();
      if (threads == 1) by_one = ops.bytes;
      EXPECT_GT(by_one.size(), 10000U);
      EXPECT_TRUE(ops.bytes == by_one) << threads << " threads, tp " << tp;
    }
  }
}

// Instead of a signal that ends the process.
TEST_P(EveryFormatTest, AFileThatBecomesShorterIsAnError) {
  class Shortener final : public TapOps {
   public:
    Shortener(Ops& inner, std::filesystem::path folder)
        : TapOps(inner), folder_(std::move(folder)) {}
    StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                                std::span<const TensorView> bias) override {
      for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        if (entry.path().extension() == ".safetensors") {
          std::filesystem::resize_file(entry.path(), 4096);
        }
      }
      return TapOps::Pack(parts, bias);
    }

   private:
    const std::filesystem::path folder_;
  };
  for (const int threads : {1, 2, 5}) {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("inferd-short-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder);
    std::filesystem::copy(GoldenDir(GetParam()), folder);
    backend_.reset();
    ResetFakeCuda();
    BackendOptions options;
    options.threads = threads;
    backend_ = MakeCudaBackend(options).value();
    Shortener ops(backend_->ops(), folder);
    const Status loaded = Load(folder, ops);
    EXPECT_EQ(loaded.code(), StatusCode::kUnavailable) << loaded.ToString();
    EXPECT_NE(loaded.message().find("a file has become shorter"), std::string::npos);
    std::filesystem::remove_all(folder);
  }
}

// By hand: INFERD_WEIGHTS_MODEL names a checkpoint. How long the host takes to load it, without
// what the emulated device takes, beside a plain read of its files.
TEST_F(WeightsFromFileTest, SpeedOfALargeCheckpoint) {
  const char* model = std::getenv("INFERD_WEIGHTS_MODEL");
  if (model == nullptr) GTEST_SKIP() << "INFERD_WEIGHTS_MODEL is not set";
  backend_.reset();
  struct Seconds {
    double wall;
    double processor;  // of all threads
  };
  const auto seconds = [this](const std::function<void()>& work) {
    const auto processor = [] {
      return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
    };
    const int64_t begin_us = clock_.NowUs();
    const double begin = processor();
    work();
    return Seconds{static_cast<double>(clock_.NowUs() - begin_us) * 1e-6, processor() - begin};
  };
  for (int round = 0; round < 3; ++round) {
    ResetFakeCuda(int64_t{1} << 36);
    LeaveFakeMemoryMapped();
    const char* threads = std::getenv("INFERD_WEIGHTS_THREADS");
    BackendOptions options;
    options.threads = threads == nullptr ? 0 : std::atoi(threads);
    options.batch_invariant = true;  // no products of the library to try
    backend_ = MakeCudaBackend(options).value();
    int64_t bytes = 0;
    const Seconds plain = seconds([&] {
      std::vector<char> buffer(Device::kSlotBytes);
      for (const auto& entry : std::filesystem::directory_iterator(model)) {
        if (entry.path().extension() != ".safetensors") continue;
        std::ifstream file;
        file.rdbuf()->pubsetbuf(nullptr, 0);
        file.open(entry.path(), std::ios::binary);
        while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
               file.gcount() > 0) {
          bytes += file.gcount();
        }
      }
    });
    const FakeCudaCounts before = FakeCuda();
    Status loaded;
    Seconds host = seconds([&] { loaded = Load(model, backend_->ops()); });
    ASSERT_TRUE(loaded.ok()) << loaded.ToString();
    const FakeCudaCounts after = FakeCuda();
    host.wall -= static_cast<double>(after.device_us - before.device_us) * 1e-6;
    host.processor -= static_cast<double>(after.device_cpu_us - before.device_cpu_us) * 1e-6;
    std::printf(
        "%.0f MiB: plain read %.3f s, of a processor %.3f; load without the emulated device %.3f "
        "s, of processors %.3f: %.0f %% of a plain read's speed\n",
        static_cast<double>(bytes) / 0x1p20, plain.wall, plain.processor, host.wall, host.processor,
        100.0 * plain.wall / host.wall);
    backend_.reset();
  }
}

TEST_F(WeightsFromFileTest, ACheckpointReadsItsViewsAndAnyMemory) {
  const auto checkpoint = Checkpoint::Open(GoldenDir("llama3"));
  ASSERT_TRUE(checkpoint.ok());
  for (const std::string_view name : checkpoint->Names()) {
    const TensorView view = checkpoint->View(name).value();
    std::vector<std::byte> bytes(static_cast<size_t>(view.NumBytes()));
    ASSERT_TRUE(checkpoint->Read(bytes.data(), view.data, bytes.size()).ok());
    EXPECT_EQ(std::memcmp(bytes.data(), view.data, bytes.size()), 0) << name;
  }
  const int from = 42;
  int to = 0;
  ASSERT_TRUE(checkpoint->Read(&to, &from, sizeof(to)).ok());
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace inferd::testing
