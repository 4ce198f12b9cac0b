#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "inferd/base/status.h"

namespace inferd::model {

// A regular file mapped for reading. Movable; unmapped at the end of its life.
class MappedFile {
 public:
  static StatusOr<MappedFile> Open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(changed_ns_, other.changed_ns_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // When it was last written, in nanoseconds.
  int64_t changed_ns() const { return changed_ns_; }
  bool Contains(const void* pointer) const;
  // Whether to fetch only what is touched, instead of what surrounds it too.
  void ReadRandomly(bool randomly) const;
  // Gives the pages back to the system; they are read again when touched.
  void ReleasePages() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t changed_ns_ = 0;
};

}  // namespace inferd::model
