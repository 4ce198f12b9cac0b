#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::quantize {

// A tensor to be written.
struct TensorSpec {
  std::string name;
  std::string dtype;  // as safetensors spells it
  std::vector<int64_t> shape;
  int64_t element_bytes = 0;

  int64_t Bytes() const;
};

// Writes safetensors files with their headers first, so that tensors can follow
// one at a time in any order and none is kept in memory. One file, or shards of
// at most `max_shard_bytes` (or of one tensor) and their index. One thread. What
// it wrote is worth nothing until Finish has returned OK.
class CheckpointWriter {
 public:
  static StatusOr<CheckpointWriter> Create(const std::filesystem::path& dir,
                                           std::vector<TensorSpec> tensors,
                                           int64_t max_shard_bytes);
  CheckpointWriter(CheckpointWriter&& other) noexcept;
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  ~CheckpointWriter();

  // All bytes of one of the tensors. Once for each.
  Status Write(const std::string& name, std::span<const std::byte> bytes);
  // Every tensor must have been written. Returns when it is on the disk.
  Status Finish();

 private:
  struct Place {
    size_t shard = 0;
    int64_t begin = 0;  // bytes from the start of the file
    int64_t bytes = 0;
    bool written = false;
  };
  struct Shard {
    std::string name;
    int fd = -1;
  };
  CheckpointWriter() = default;
  Status Open(const std::filesystem::path& dir, std::span<const TensorSpec> tensors,
              std::span<const std::vector<size_t>> shards);
  Status WriteIndex(const std::filesystem::path& dir) const;

  std::vector<Shard> shards_;
  std::map<std::string, Place> places_;
};

// Writes a whole file and waits until it is on the disk. The error names it.
Status WriteFile(const std::filesystem::path& path, std::string_view text);

}  // namespace inferd::quantize
