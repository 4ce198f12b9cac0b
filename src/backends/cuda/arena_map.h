#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "inferd/base/status.h"

namespace inferd {

// Which parts of one region are taken: first fit, neighbours that become free are
// joined. Offsets and sizes are multiples of kUnit. It knows no memory, so it is the
// same on every machine. One thread.
class ArenaMap {
 public:
  static constexpr size_t kUnit = 256;  // bytes; what copies and vectors want

  explicit ArenaMap(size_t bytes);

  // The offset of `bytes` bytes, or nothing when no free part is large enough.
  std::optional<size_t> Take(size_t bytes);
  // What Take gave.
  void Give(size_t offset);

  size_t bytes() const { return bytes_; }
  size_t taken() const { return taken_; }
  size_t parts() const { return taken_parts_.size(); }
  bool empty() const { return taken_parts_.empty(); }

  // Free and taken parts cover the region once; no two free parts touch.
  Status CheckIntegrity() const;

 private:
  const size_t bytes_;
  size_t taken_ = 0;
  std::map<size_t, size_t> taken_parts_;  // offset -> bytes
  std::map<size_t, size_t> free_parts_;
};

}  // namespace inferd
