// Bytes of files that are mapped, read without touching the mapping.
#pragma once

#include <cstddef>
#include <cstring>

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

// The same where `files` may be null: then all is memory.
inline Status ReadBytes(const FileBytes* files, void* to, const void* from, size_t bytes) {
  if (files != nullptr) return files->Read(to, from, bytes);
  std::memcpy(to, from, bytes);
  return OkStatus();
}

}  // namespace inferd
