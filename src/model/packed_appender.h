#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/status.h"
#include "model/packed_file.h"

namespace inferd::model {

// Writes a file of packed weights (packed_file.h) one weight after another; a weight is
// the caller's again as soon as it is added. One thread.
class PackedAppender {
 public:
  // `fd` is an empty file and stays the caller's. `stop` is asked every few MiB.
  PackedAppender(int fd, std::function<bool()> stop);

  // `record` names the weight and says its sizes. CANCELLED once `stop` says so.
  Status Add(PackedRecord record, const Buffer& data, const Buffer& bias);
  // Writes what is left, makes all of it durable, and then only says that it is there.
  Status Finish(const Hash128& key);

 private:
  // Begins at the next place that is aligned.
  StatusOr<uint64_t> Place(const Buffer& buffer);
  Status Put(const std::byte* data, uint64_t bytes);
  Status Flush();

  const int fd_;
  const std::function<bool()> stop_;
  std::vector<std::byte> chunk_;  // what was put and not yet written, zeros behind
  uint64_t chunk_begin_;          // bytes from the start of the file
  uint64_t used_ = 0;             // of the chunk
  std::vector<uint64_t> hashes_;
  std::vector<PackedRecord> records_;
};

// A record of a weight's name and sizes. `name` is of fewer than
// PackedRecord::kNameBytes bytes.
PackedRecord RecordOf(std::string_view name, const LinearWeight& weight);
PackedRecord RecordOf(std::string_view name, const VectorWeight& weight);

}  // namespace inferd::model
