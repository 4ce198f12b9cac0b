// Packed weights in a file, in a form that is used where it is mapped.
//
//   header   fixed, with the hash of itself
//   data     from 2 MiB on: the weights one after another, each aligned to 4096;
//            padded to whole chunks of 2 MiB
//   index    a hash per chunk, then a record per weight
//
// Everything little-endian, as the packed weights themselves are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/status.h"
#include "inferd/ops/weights.h"

namespace inferd::model {

struct PackedHeader;

inline constexpr uint64_t kPackedChunkBytes = uint64_t{2} << 20;

// Where a weight's parts are. Plain data, as in the file.
struct PackedRecord {
  static constexpr size_t kNameBytes = 128;
  char name[kNameBytes] = {};  // padded with zeros
  int64_t out_features = 0;    // of a vector: its size
  int64_t in_features = 0;     // of a vector: 0
  int32_t format = 0;          // WeightFormat
  int32_t group_size = 0;
  uint64_t data_begin = 0;  // bytes from the start of the file
  uint64_t data_bytes = 0;
  uint64_t bias_begin = 0;
  uint64_t bias_bytes = 0;
};

// 64 bits of the bytes; not for secrets. About as fast as memory.
uint64_t FastHash(std::span<const std::byte> bytes, uint64_t seed);

// A file of packed weights, mapped for reading. Movable; weights taken from it
// refer to its memory. Any thread once it is open.
class PackedFile {
 public:
  // Reads and compares everything, with up to `threads` threads. NOT_FOUND when
  // there is no file; FAILED_PRECONDITION saying why it cannot be used: not such a
  // file, not ours, damaged, or of other weights than `key`'s.
  static StatusOr<PackedFile> Open(const std::filesystem::path& path, const Hash128& key,
                                   int threads);
  PackedFile() = default;
  PackedFile(PackedFile&& other) noexcept { *this = std::move(other); }
  PackedFile& operator=(PackedFile&& other) noexcept;
  PackedFile(const PackedFile&) = delete;
  PackedFile& operator=(const PackedFile&) = delete;
  ~PackedFile();

  // NOT_FOUND when there is none of that name and kind.
  StatusOr<LinearWeight> Linear(std::string_view name) const;
  StatusOr<VectorWeight> Vector(std::string_view name) const;

  bool open() const { return data_ != nullptr; }
  // Gives the pages back to the system; they are read again when touched.
  void ReleasePages() const;
  uint64_t bytes() const { return size_; }

 private:
  Status Map(int fd, uint64_t bytes);
  Status ReadIndex(const PackedHeader& header, std::vector<uint64_t>* chunk_hashes);
  Status CheckChunks(const std::vector<uint64_t>& hashes, int threads) const;
  Buffer At(uint64_t begin, uint64_t bytes) const;

  std::byte* data_ = nullptr;  // in memory reserved from reserved_ on
  uint64_t size_ = 0;
  void* reserved_ = nullptr;
  uint64_t reserved_bytes_ = 0;
  std::map<std::string, PackedRecord, std::less<>> records_;
};

// Writes such a file. The weights stay the caller's and must not change meanwhile.
class PackedWriter {
 public:
  // `name` is of fewer than PackedRecord::kNameBytes bytes.
  void Add(std::string_view name, const LinearWeight& weight);
  void Add(std::string_view name, const VectorWeight& weight);

  uint64_t FileBytes() const;
  // Writes all of it to `fd`, an empty file, and makes it durable. CANCELLED once
  // `stop` says so, which is asked every few MiB.
  Status WriteTo(int fd, const Hash128& key, const std::function<bool()>& stop) const;

 private:
  struct Noted {
    PackedRecord record;
    Buffer data;  // the weight's
    Buffer bias;
  };
  void Add(const PackedRecord& record, const Buffer& data, const Buffer& bias);

  std::vector<Noted> weights_;
  uint64_t end_ = kPackedChunkBytes;  // of the data
};

}  // namespace inferd::model
