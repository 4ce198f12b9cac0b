// What the reader and the writer of packed files share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/base/hash.h"
#include "model/packed_file.h"

namespace inferd::model {

inline constexpr uint64_t kPackedMagic = 0x31504b4452464e49;  // "INFRDKP1"
inline constexpr uint64_t kPackedAlignment = 4096;
inline constexpr uint64_t kMaxPackedRecords = 65536;

struct PackedHeader {
  uint64_t magic = kPackedMagic;
  uint64_t file_bytes = 0;
  Hash128 key;
  uint64_t index_begin = 0;  // the end of the data
  uint64_t num_chunks = 0;
  uint64_t num_records = 0;
  uint64_t index_hash = 0;
  uint64_t header_hash = 0;  // of all before it
};

inline uint64_t HeaderHash(const PackedHeader& header) {
  return FastHash(
      {reinterpret_cast<const std::byte*>(&header), offsetof(PackedHeader, header_hash)},
      kPackedMagic);
}

}  // namespace inferd::model
