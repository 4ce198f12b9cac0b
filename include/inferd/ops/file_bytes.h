// Bytes of files that are mapped, read without touching the mapping.
#pragma once

#include <cstddef>

#include "inferd/base/status.h"

namespace inferd {

// Any thread.
class FileBytes {
 public:
  virtual ~FileBytes() = default;
  // Copies `bytes` bytes at `from` to `to`: from the file, where `from` points into a
  // mapping of one, else from memory. UNAVAILABLE when the file cannot be read.
  virtual Status Read(void* to, const void* from, size_t bytes) const = 0;
};

}  // namespace inferd
