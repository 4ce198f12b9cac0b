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
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  bool Contains(const void* pointer) const;
  // Gives the pages back to the system; they are read again when touched.
  void ReleasePages() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace inferd::model
