#include "quantize/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include "inferd/model/checkpoint.h"
#include "quantize/output_directory.h"
#include "tiny_checkpoint.h"

namespace inferd::quantize {
namespace {

namespace fs = std::filesystem;
using inferd::testing::TempDir;

const std::vector<TensorSpec> kTensors = {
    {"odd", "I8", {3}, 1}, {"half", "F16", {2, 2}, 2}, {"wide", "F32", {5}, 4}};

std::vector<std::byte> Pattern(const TensorSpec& tensor) {
  std::vector<std::byte> bytes;
  for (int64_t i = 0; i < tensor.Bytes(); ++i) {
    bytes.push_back(static_cast<std::byte>((i + tensor.element_bytes) & 0x3f));
  }
  return bytes;
}

void WriteAll(const fs::path& dir, int64_t max_shard_bytes) {
  StatusOr<CheckpointWriter> writer = CheckpointWriter::Create(dir, kTensors, max_shard_bytes);
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  for (size_t i = kTensors.size(); i-- > 0;) {  // the order does not matter
    ASSERT_TRUE(writer->Write(kTensors[i].name, Pattern(kTensors[i])).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
}

void ExpectAll(const fs::path& dir) {
  const StatusOr<Checkpoint> read = Checkpoint::Open(dir);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->Names().size(), kTensors.size());
  for (const TensorSpec& tensor : kTensors) {
    const StatusOr<TensorView> view =
        tensor.dtype == "I8" ? read->IntegerView(tensor.name) : read->View(tensor.name);
    ASSERT_TRUE(view.ok()) << view.status().ToString();
    const std::vector<std::byte> wanted = Pattern(tensor);
    ASSERT_EQ(view->NumBytes(), static_cast<int64_t>(wanted.size()));
    EXPECT_EQ(std::vector<std::byte>(view->As<std::byte>(), view->As<std::byte>() + wanted.size()),
              wanted);
  }
}

TEST(CheckpointWriter, OneFileReadsBack) {
  const TempDir dir;
  WriteAll(dir.path(), 1000);
  EXPECT_TRUE(fs::exists(dir.path() / "model.safetensors"));
  ExpectAll(dir.path());
}

TEST(CheckpointWriter, ShardsReadBack) {
  const TempDir dir;
  WriteAll(dir.path(), 12);
  EXPECT_FALSE(fs::exists(dir.path() / "model.safetensors"));
  EXPECT_TRUE(fs::exists(dir.path() / "model-00002-of-00002.safetensors"));
  ExpectAll(dir.path());
}

TEST(CheckpointWriter, ADiskThatRefusesMoreIsOneLine) {
  const TempDir dir;
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<TensorSpec> tensors = {{"large", "F32", {10000}, 4}};
  StatusOr<CheckpointWriter> writer = CheckpointWriter::Create(dir.path(), tensors, 1 << 30);
  const Status status =
      writer.ok() ? writer->Write("large", std::vector<std::byte>(40000)) : writer.status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("model.safetensors: cannot be written"));
}

TEST(OutputDirectory, AppearsWhenCommittedAndElseLeavesNothing) {
  const TempDir dir;
  const fs::path place = dir.path() / "out";
  {
    StatusOr<OutputDirectory> output = OutputDirectory::Create(place);
    ASSERT_TRUE(output.ok()) << output.status().ToString();
    ASSERT_TRUE(WriteFile(output->path() / "file", "text").ok());
    EXPECT_FALSE(fs::exists(place));
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
  {
    StatusOr<OutputDirectory> output = OutputDirectory::Create(place / "");
    ASSERT_TRUE(output.ok()) << output.status().ToString();
    ASSERT_TRUE(WriteFile(output->path() / "file", "text").ok());
    ASSERT_TRUE(output->Commit().ok());
  }
  EXPECT_EQ(inferd::testing::ReadFile(place / "file"), "text");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(OutputDirectory, AnEmptyDirectoryIsTakenAFullOneIsNot) {
  const TempDir dir;
  const fs::path place = dir.path() / "out";
  fs::create_directory(place);
  {
    StatusOr<OutputDirectory> output = OutputDirectory::Create(place);
    ASSERT_TRUE(output.ok());
    ASSERT_TRUE(WriteFile(output->path() / "file", "text").ok());
    ASSERT_TRUE(output->Commit().ok());
  }
  EXPECT_THAT(OutputDirectory::Create(place).status().message(),
              ::testing::HasSubstr("exists and is not empty"));
  EXPECT_THAT(OutputDirectory::Create(place / "file").status().message(),
              ::testing::HasSubstr("is not a directory"));
  EXPECT_FALSE(OutputDirectory::Create(dir.path() / "no" / "out").ok());
}

}  // namespace
}  // namespace inferd::quantize
