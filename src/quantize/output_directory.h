#pragma once

#include <filesystem>

#include "inferd/base/status.h"

namespace inferd::quantize {

// A directory that appears whole or not at all: it is filled beside its final
// place, under a name that starts with a dot, and renamed by Commit. Without
// Commit it goes away with this object.
class OutputDirectory {
 public:
  // Refuses a place that holds something, and a parent that does not exist.
  static StatusOr<OutputDirectory> Create(const std::filesystem::path& place);
  OutputDirectory(OutputDirectory&& other) noexcept;
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  ~OutputDirectory();

  // Where to write.
  const std::filesystem::path& path() const { return partial_; }
  Status Commit();

 private:
  OutputDirectory() = default;
  std::filesystem::path place_;
  std::filesystem::path partial_;  // empty: committed
};

// FAILED_PRECONDITION unless nothing, or an empty directory, is at `place`.
Status CheckPlace(const std::filesystem::path& place);

}  // namespace inferd::quantize
