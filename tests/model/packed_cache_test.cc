// Packed weights kept on disk: the same bytes again, and nothing else, whatever
// happens to the files.
#include "model/packed_cache.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "inferd/backends/backend.h"
#include "inferd/model/model_config.h"
#include "model/tensor_list.h"
#include "model/weight_source.h"
#include "spdlog/sinks/ostream_sink.h"
#include "support/source_dir.h"
#include "tiny_checkpoint.h"

namespace inferd::model {
namespace {

namespace fs = std::filesystem;
using inferd::testing::MakeTiny;
using inferd::testing::ReadFile;
using inferd::testing::TempDir;
using inferd::testing::TinyCheckpoint;
using inferd::testing::WriteFile;
using ::testing::HasSubstr;

constexpr int64_t kNoLimit = int64_t{1} << 40;

class PackedCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = CreateBackend("cpu", {.threads = 1, .logger = nullptr}).value();
    fs::create_directory(model_dir());
    MakeTiny("LlamaForCausalLM").Write(model_dir());
  }

  fs::path model_dir() const { return dir_.path() / "model"; }
  fs::path cache_dir() const { return dir_.path() / "cache"; }

  PackedCacheOptions Options(int64_t max_bytes = kNoLimit) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log_);
    return {cache_dir(), max_bytes, std::make_shared<spdlog::logger>("test", sink)};
  }
  PackedCache CacheOf(const fs::path& dir, int64_t max_bytes = kNoLimit,
                      std::string_view layout = "layout") {
    return PackedCache::Create(Options(max_bytes), Checkpoint::Open(dir).value(), layout).value();
  }

  // A model of one matrix of `bytes` bytes.
  static LinearWeight Matrix(int64_t bytes, HostAllocator& allocator) {
    LinearWeight weight;
    weight.out_features = 1;
    weight.in_features = bytes / 4;
    weight.packed = Buffer::Create(allocator, static_cast<size_t>(bytes)).value();
    for (int64_t i = 0; i < bytes; ++i) weight.packed.data()[i] = static_cast<std::byte>(i * 7 / 5);
    return weight;
  }
  // Keeps one there, and says whether it is in place.
  bool Keep(const PackedCache& cache, int64_t bytes) {
    const LinearWeight weight = Matrix(bytes, allocator_);
    PackedWriter writer;
    writer.Add("matrix", weight);
    const std::unique_ptr<PackedSaver> saver = cache.Save(std::move(writer));
    if (saver != nullptr) saver->Wait();
    return fs::exists(cache.path());
  }

  TempDir dir_;
  HostAllocator allocator_;
  std::ostringstream log_;
  std::unique_ptr<Backend> backend_;
};

std::string Bytes(const Buffer& buffer) {
  return buffer.size() == 0
             ? std::string()
             : std::string(reinterpret_cast<const char*>(buffer.data()), buffer.size());
}

// Every weight of the model, in order; with `notes`, noted there too.
struct AllWeights {
  std::vector<LinearWeight> linears;
  std::vector<VectorWeight> vectors;
};
AllWeights ReadAll(const ModelConfig& config, WeightSource& source) {
  AllWeights all;
  const int64_t hidden = config.hidden_size;
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv = int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t ffn = config.intermediate_size;
  const std::array<LinearPart, 3> qkv = {{{"self_attn.q_proj", {0, q, 0, hidden}},
                                          {"self_attn.k_proj", {0, kv, 0, hidden}},
                                          {"self_attn.v_proj", {0, kv, 0, hidden}}}};
  const std::array<LinearPart, 1> down = {{{"mlp.down_proj", {0, hidden, 0, ffn}}}};
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const std::string prefix = LayerPrefix(i);
    all.linears.push_back(source.Linear(prefix, qkv, config.qkv_bias).value());
    all.linears.push_back(source.Linear(prefix, down, false).value());
    all.vectors.push_back(source.Vector(prefix + "input_layernorm.weight").value());
  }
  return all;
}

TEST_F(PackedCacheTest, GivesTheSameBytesAgain) {
  std::vector<fs::path> models;
  for (const char* name : {"qwen2_awq", "llama_gptq", "llama_int8"}) {
    models.push_back(SourceDir() / "tests/golden/quantised" / name);
  }
  for (const char* dtype : {"F32", "F16", "BF16"}) {
    models.push_back(dir_.path() / dtype);
    fs::create_directory(models.back());
    MakeTiny("Qwen2ForCausalLM", 1, dtype).Write(models.back());
  }
  for (const fs::path& dir : models) {
    SCOPED_TRACE(dir.string());
    const ModelConfig config = LoadModelConfig(dir).value();
    const Checkpoint checkpoint = Checkpoint::Open(dir).value();
    Ops& ops = backend_->ops();
    const PackedCache cache =
        PackedCache::Create(Options(), checkpoint, ops.PackedLayout()).value();
    ASSERT_FALSE(cache.Open().open());
    PackingSource packing(config.quantization, checkpoint, ops);
    PackedWriter writer;
    NotingSource noting(packing, writer);
    const AllWeights packed = ReadAll(config, noting);
    cache.Save(std::move(writer))->Wait();

    const PackedFile file = cache.Open();
    ASSERT_TRUE(file.open()) << log_.str();
    KeptSource kept(file, ops);
    const AllWeights again = ReadAll(config, kept);
    for (size_t i = 0; i < packed.linears.size(); ++i) {
      const LinearWeight& a = packed.linears[i];
      const LinearWeight& b = again.linears[i];
      EXPECT_EQ(a.format, b.format);
      EXPECT_EQ(a.out_features, b.out_features);
      EXPECT_EQ(a.in_features, b.in_features);
      EXPECT_EQ(a.group_size, b.group_size);
      EXPECT_EQ(Bytes(a.packed), Bytes(b.packed));
      EXPECT_EQ(Bytes(a.bias), Bytes(b.bias));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b.packed.data()) % 64, 0U);
    }
    for (size_t i = 0; i < packed.vectors.size(); ++i) {
      EXPECT_EQ(packed.vectors[i].size, again.vectors[i].size);
      EXPECT_EQ(Bytes(packed.vectors[i].data), Bytes(again.vectors[i].data));
    }
    EXPECT_FALSE(file.Linear("model.layers.9.mlp.down_proj").ok());
    EXPECT_FALSE(file.Vector("model.layers.0.mlp.down_proj").ok());
  }
}

TEST_F(PackedCacheTest, WeightsLargerThanAChunkComeBack) {
  const PackedCache cache = CacheOf(model_dir());
  constexpr int64_t kBytes = (int64_t{5} << 20) + 4096 + 12;
  ASSERT_TRUE(Keep(cache, kBytes));
  const PackedFile file = cache.Open();
  ASSERT_TRUE(file.open());
  EXPECT_TRUE(Bytes(file.Linear("matrix").value().packed) ==
              Bytes(Matrix(kBytes, allocator_).packed));
}

TEST_F(PackedCacheTest, RefusesDamageAnywhereAndWritesAnew) {
  const PackedCache cache = CacheOf(model_dir());
  ASSERT_TRUE(Keep(cache, 3 << 20));
  const std::string good = ReadFile(cache.path());
  const size_t data = kPackedChunkBytes;
  const size_t index = 3 * kPackedChunkBytes;
  ASSERT_LT(index, good.size());
  for (const size_t place : {size_t{0}, size_t{10}, size_t{40}, size_t{70}, data, data + (3 << 20),
                             index - 1, index, good.size() - 1}) {
    std::string bad = good;
    bad[place] = static_cast<char>(bad[place] ^ 0x10);
    WriteFile(cache.path(), bad);
    EXPECT_FALSE(cache.Open().open()) << "byte " << place;
  }
  for (const size_t size : {size_t{0}, size_t{71}, data, index, good.size() - 1}) {
    WriteFile(cache.path(), good.substr(0, size));
    EXPECT_FALSE(cache.Open().open()) << "cut to " << size;
  }
  WriteFile(cache.path(), good + "more");
  EXPECT_FALSE(cache.Open().open());
  EXPECT_THAT(log_.str(), HasSubstr("is not used: it "));

  ASSERT_TRUE(Keep(cache, 3 << 20));
  EXPECT_TRUE(cache.Open().open());
}

TEST_F(PackedCacheTest, RefusesWhatOthersMayWriteAndWhatIsNoFile) {
  const PackedCache cache = CacheOf(model_dir());
  ASSERT_TRUE(Keep(cache, 4096));
  fs::permissions(cache.path(), fs::perms::others_write, fs::perm_options::add);
  EXPECT_FALSE(cache.Open().open());
  fs::permissions(cache.path(), fs::perms::others_write, fs::perm_options::remove);
  EXPECT_TRUE(cache.Open().open());

  const fs::path elsewhere = dir_.path() / "elsewhere";
  fs::rename(cache.path(), elsewhere);
  fs::create_symlink(elsewhere, cache.path());
  EXPECT_FALSE(cache.Open().open());
  fs::remove(cache.path());
  fs::create_directory(cache.path());
  EXPECT_FALSE(cache.Open().open());
}

TEST_F(PackedCacheTest, AnotherCheckpointAtTheSamePlaceIsNotMistakenForIt) {
  ASSERT_TRUE(Keep(CacheOf(model_dir()), 4096));
  EXPECT_TRUE(CacheOf(model_dir()).Open().open());
  const auto time = fs::last_write_time(model_dir() / "model.safetensors");
  const auto rewrite = [&](const TinyCheckpoint& tiny) {
    tiny.Write(model_dir());
    fs::last_write_time(model_dir() / "model.safetensors", time);
  };

  // One matrix changed, at the same time and size.
  TinyCheckpoint other = MakeTiny("LlamaForCausalLM");
  std::string& bytes = other.tensor("model.layers.1.mlp.up_proj.weight").bytes;
  for (char& byte : bytes) byte = static_cast<char>(byte ^ 1);
  rewrite(other);
  EXPECT_FALSE(CacheOf(model_dir()).Open().open());
  // The same bytes again, then another time, another configuration, another layout.
  rewrite(MakeTiny("LlamaForCausalLM"));
  EXPECT_TRUE(CacheOf(model_dir()).Open().open());
  fs::last_write_time(model_dir() / "model.safetensors", time + std::chrono::microseconds(1));
  EXPECT_FALSE(CacheOf(model_dir()).Open().open());
  other = MakeTiny("LlamaForCausalLM");
  other.config["rope_theta"] = 500000.0;
  rewrite(other);
  EXPECT_FALSE(CacheOf(model_dir()).Open().open());
  rewrite(MakeTiny("LlamaForCausalLM"));
  EXPECT_TRUE(CacheOf(model_dir()).Open().open());
  EXPECT_FALSE(CacheOf(model_dir(), kNoLimit, "another layout").Open().open());
}

TEST_F(PackedCacheTest, TheOneUsedLongestAgoGivesWay) {
  constexpr int64_t kBytes = 1 << 20;              // a file of some 4 MiB
  constexpr int64_t kLimit = (int64_t{10} << 20);  // two of them
  const auto model = [&](const char* name) {
    fs::create_directory(dir_.path() / name);
    MakeTiny("LlamaForCausalLM").Write(dir_.path() / name);
    return CacheOf(dir_.path() / name, kLimit);
  };
  const PackedCache a = model("a");
  const PackedCache b = model("b");
  const PackedCache c = model("c");
  ASSERT_TRUE(Keep(a, kBytes));
  ASSERT_TRUE(Keep(b, kBytes));
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(a.path(), long_ago - std::chrono::hours(1));
  fs::last_write_time(b.path(), long_ago);
  WriteFile(cache_dir() / "unrelated", "stays");
  EXPECT_TRUE(a.Open().open());  // used now
  ASSERT_TRUE(Keep(c, kBytes));
  EXPECT_TRUE(fs::exists(a.path()));
  EXPECT_FALSE(fs::exists(b.path()));
  EXPECT_TRUE(fs::exists(cache_dir() / "unrelated"));
  // Its own file does not count against it.
  ASSERT_TRUE(Keep(c, kBytes));
  EXPECT_TRUE(fs::exists(a.path()));
  // More than the limit is not kept, and nobody goes for it.
  EXPECT_FALSE(Keep(model("d"), kLimit));
  EXPECT_TRUE(fs::exists(a.path()) && fs::exists(c.path()));
  EXPECT_THAT(log_.str(), HasSubstr("the limit is 10 MiB"));
}

TEST_F(PackedCacheTest, ADirectoryThatCannotBeWrittenCostsTheCacheOnly) {
  WriteFile(cache_dir(), "a file where the directory should be");
  EXPECT_FALSE(CacheOf(model_dir()).Open().open());
  EXPECT_FALSE(Keep(CacheOf(model_dir()), 4096));
  EXPECT_THAT(log_.str(), HasSubstr("not kept in"));
}

TEST_F(PackedCacheTest, AFullDiskLeavesNothingBehind) {
  // /dev/full is a disk without room.
  const int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const LinearWeight weight = Matrix(4096, allocator_);
  PackedWriter writer;
  writer.Add("matrix", weight);
  const Status status = writer.WriteTo(fd, {}, [] { return false; });
  close(fd);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
}

TEST_F(PackedCacheTest, OneProcessWritesAtATime) {
  const PackedCache cache = CacheOf(model_dir());
  fs::create_directory(cache_dir());
  const fs::path temporary = cache.path().string() + ".tmp";
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  EXPECT_FALSE(Keep(cache, 4096));
  EXPECT_THAT(log_.str(), HasSubstr("another process writes it"));
  close(fd);
  // What a killed one left is used up.
  WriteFile(temporary, std::string(10 << 20, 'x'));
  EXPECT_TRUE(Keep(cache, 4096));
  EXPECT_FALSE(fs::exists(temporary));
  EXPECT_TRUE(cache.Open().open());
}

TEST_F(PackedCacheTest, StopsWhenTold) {
  const LinearWeight weight = Matrix(8 << 20, allocator_);
  PackedWriter writer;
  writer.Add("matrix", weight);
  const fs::path path = dir_.path() / "file";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int asked = 0;
  const Status status = writer.WriteTo(fd, {}, [&] { return ++asked == 2; });
  close(fd);
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_FALSE(PackedFile::Open(path, {}, 1).ok());
}

// A checksum by whoever forged the file as well: sizes are still compared.
TEST_F(PackedCacheTest, TheBackendRefusesSizesThatDoNotFit) {
  const fs::path dir = SourceDir() / "tests/golden/quantised/llama_int8";
  const ModelConfig config = LoadModelConfig(dir).value();
  const Checkpoint checkpoint = Checkpoint::Open(dir).value();
  const Ops& ops = backend_->ops();
  PackingSource packing(config.quantization, checkpoint, backend_->ops());
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const LinearPart output{"self_attn.o_proj", {0, config.hidden_size, 0, q}};
  LinearWeight weight = packing.Linear(LayerPrefix(0), {&output, 1}, false).value();
  EXPECT_TRUE(ops.Accepts(weight));
  for (int64_t* size : {&weight.out_features, &weight.in_features}) {
    *size *= 16;
    EXPECT_FALSE(ops.Accepts(weight));
    *size /= 16;
  }
  weight.format = WeightFormat::kInt4;
  EXPECT_FALSE(ops.Accepts(weight));
  weight.format = WeightFormat::kBF16;
  EXPECT_FALSE(ops.Accepts(weight));
  weight.format = WeightFormat::kInt8;
  weight.bias = Buffer::Borrow(weight.packed.data(), 4);
  EXPECT_FALSE(ops.Accepts(weight));
}

TEST(FastHashTest, EveryByteAndTheLengthCount) {
  std::vector<std::byte> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const uint64_t whole = FastHash(bytes, 1);
  EXPECT_NE(whole, FastHash(bytes, 2));
  EXPECT_NE(whole, FastHash(std::span(bytes).first(199), 1));
  for (std::byte& byte : bytes) {
    byte ^= std::byte{0x80};
    EXPECT_NE(whole, FastHash(bytes, 1));
    byte ^= std::byte{0x80};
  }
}

}  // namespace
}  // namespace inferd::model
